#include "signerd/watch/watcher.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "firmware/runtime/log.h"
#include "firmware/runtime/pause.h"
#include "firmware/runtime/printable.h"
#include "signerd/watch/alert_convert.h"

namespace hallmark::watch {
namespace {

constexpr std::chrono::seconds kInterval{1};
constexpr std::size_t kMostUnstored = 1000;
constexpr std::size_t kMostText = 2000;  // octets of an alert; what others say of what is wrong may be in it
constexpr char kLedgerUnavailable[] = "LEDGER_UNAVAILABLE";
constexpr int kStays = 60;  // a minute of the cool-down's hour
constexpr char kRotationStuck[] = "ROTATION_STUCK";
constexpr char kClockNotSet[] = "CLOCK_NOT_SET";
constexpr char kHealth[] = "HEALTH";
constexpr std::array kKinds =
    std::to_array<const char*>({"SURGE", "DORMANT_DOMAIN", "REFUSAL_BURST", "AUTHOR_CHANGE", "SIZE_CHANGE",
                                "HARD_LIMIT", "OFF_HOURS", kLedgerUnavailable, kRotationStuck, kClockNotSet, kHealth});

bool MustSuspend(const Alarm& alarm, const snapshot::Snapshot& view) {
  const snapshot::Partner* partner = view.FindPartner(alarm.partner);
  return partner != nullptr && partner->watch.suspend_on.contains(alarm.kind);
}

}  // namespace

Watcher::Watcher(const Parts& parts) : parts_(parts), detector_(parts.settings) {
  const auto saved = parts_.store.GetWatchProfiles();
  if (saved) {
    detector_.Restore(*saved, *parts_.snapshot.Get());
  } else {
    log::error("watch: begins to learn anew: {}", saved.error().message);
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void Watcher::Stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
  Look();
  Save();
  if (!unstored_.empty()) log::error("watch: {} alerts are not in the store", unstored_.size());
}

void Watcher::Run(const std::stop_token& stop) {
  auto saved = std::chrono::steady_clock::now();
  while (Pause(stop, kInterval)) {
    Look();
    if (std::chrono::steady_clock::now() - saved < parts_.settings.save_interval) continue;
    saved = std::chrono::steady_clock::now();
    Save();
  }
}

void Watcher::Look() {
  may_store_ = true;
  // Before the view: what comes after a partner was let in again must not be taken for what it had before.
  const Tick tick = parts_.traffic.Take();
  const auto view = parts_.snapshot.Get();
  for (const Alarm& alarm : detector_.Step(tick, *view, parts_.clock.Now(), std::chrono::steady_clock::now())) {
    See(alarm, *view);
  }
  LookAtLedger(*view);
  LookAtRotations(*view);
  LookAtHealth(*view);
  SuspendWaiting(*view);
  StoreWaiting();
  if (to_journal_) JournalWaiting();
}

// Its own record of that comes when it can be written again. A sink that is slow is late for that one too, and takes
// the next: what comes again within the cool-down is told again only where it stays.
void Watcher::LookAtLedger(const snapshot::Snapshot& view) {
  const std::string trouble = parts_.ledger_trouble();
  if (trouble.empty()) {
    ledger_.began.reset();
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  const auto cool_down = parts_.settings.cool_down;
  if (!ledger_.began) ledger_ = {now, ledger_.last, ledger_.last && now - *ledger_.last < cool_down, false};
  ledger_.last = now;
  if (ledger_.told || (ledger_.recent && now - *ledger_.began < cool_down / kStays)) return;
  ledger_.told = true;
  See({kLedgerUnavailable, "", "", trouble}, view);
}

void Watcher::LookAtRotations(const snapshot::Snapshot& view) {
  const auto alarm = stuck_.Step(parts_.stuck_rotations(), std::chrono::steady_clock::now());
  if (alarm) See(*alarm, view);
}

void Watcher::LookAtHealth(const snapshot::Snapshot& view) {
  const auto troubles = parts_.health_troubles();
  std::erase_if(unwell_, [&](const std::string& name) { return !troubles.contains(name); });
  for (const auto& [name, why] : troubles) {
    if (unwell_.insert(name).second) See({name == "clock" ? kClockNotSet : kHealth, "", "", why}, view);
  }
}

void Watcher::See(const Alarm& alarm, const snapshot::Snapshot& view) { Keep(alarm, Act(alarm, view)); }

// What was done about it.
std::string Watcher::Act(const Alarm& alarm, const snapshot::Snapshot& view) {
  if (!MustSuspend(alarm, view)) return "";
  const Status done = parts_.suspend(alarm.partner);
  // It may have been suspended a moment ago, by a person or another alert.
  if (!done && done.error().reason != Reason::kStateConflict) {
    if (to_suspend_.emplace(alarm.partner, alarm).second) {
      log::error("watch: partner {} could not be suspended, which is tried again: {}", alarm.partner,
                 done.error().message);
    }
    return "";
  }
  to_suspend_.erase(alarm.partner);
  if (!done) return "";
  detector_.NoteSuspended(alarm.partner);
  ++suspended_;
  return "SUSPENDED";
}

void Watcher::Keep(const Alarm& alarm, const std::string& action) {
  const auto kind = std::find(kKinds.begin(), kKinds.end(), alarm.kind);
  if (kind != kKinds.end()) ++raised_[static_cast<std::size_t>(kind - kKinds.begin())];
  store::AlertRow row;
  row.kind = alarm.kind;
  row.partner = alarm.partner;
  row.signing_domain = alarm.signing_domain;
  row.message = Printable(alarm.message, kMostText);
  row.action = action;
  row.raised = parts_.clock.Now();
  log::warn("alert {}: {}{}", row.kind, row.message, row.action.empty() ? "" : "; it is suspended");
  // One look may raise more than that. A store that is slow to fail is asked once in it.
  if (unstored_.size() >= kMostUnstored && may_store_) StoreWaiting();
  if (unstored_.size() < kMostUnstored) {
    unstored_.push_back({std::move(row)});
  } else {
    log::error("watch: too many alerts wait for the store: this one is in the log only");
  }
}

// An alert that was raised when its partner could not be suspended is raised again when it could.
void Watcher::SuspendWaiting(const snapshot::Snapshot& view) {
  std::erase_if(to_suspend_, [&](const auto& entry) { return !MustSuspend(entry.second, view); });
  const auto waiting = to_suspend_;
  for (const auto& [partner, alarm] : waiting) {
    const std::string action = Act(alarm, view);
    if (!action.empty()) Keep(alarm, action);
  }
}

void Watcher::StoreWaiting() {
  while (!unstored_.empty()) {
    const Unstored& first = unstored_.front();
    const auto id = parts_.store.InsertAlert(first.row, parts_.webhook != nullptr);
    if (!id) {
      may_store_ = false;
      if (std::exchange(store_takes_, false)) {
        log::error("watch: alerts are not in the store, which is tried again: {}", id.error().message);
      }
      break;
    }
    store_takes_ = true;
    if (first.journaled && !parts_.store.MarkJournaled(*id)) journaled_.insert(*id);  // marked with those to journal
    unstored_.pop_front();
    to_journal_ = true;
    if (parts_.webhook != nullptr) parts_.webhook->Wake();
  }
  // The ledger is another file; an alert is not lost with the database.
  for (Unstored& waiting : unstored_) {
    if (waiting.journaled) continue;
    waiting.journaled = parts_.journal(ToRecord(waiting.row)).has_value();
    if (!waiting.journaled) return;  // tried again in a second; the ledger itself logs what is wrong with it
  }
}

void Watcher::JournalWaiting() {
  const auto waiting = parts_.store.AlertsToJournal();
  if (!waiting) {
    log::error("watch: {}", waiting.error().message);
    return;
  }
  to_journal_ = !waiting->empty();
  if (!to_journal_) journaled_.clear();  // what is left is of alerts that the store has no room for any more
  bool marks = true;
  for (const store::AlertRow& row : *waiting) {
    const bool is_new = !journaled_.contains(row.id);
    // Tried again in a second; the ledger itself logs what is wrong with it.
    if (is_new && !parts_.journal(ToRecord(row))) return;
    journaled_.insert(row.id);
    if (!marks) continue;
    const Status marked = parts_.store.MarkJournaled(row.id);
    if (marked) journaled_.erase(row.id);
    if (!marked && is_new) {
      log::error("watch: alert {} is on the ledger, which the store does not note: {}", row.id, marked.error().message);
    }
    marks = marked.has_value();
  }
}

void Watcher::Save() {
  const auto changed = detector_.TakeChanged();
  if (changed.empty()) return;
  const Status kept = parts_.store.PutWatchProfiles(changed);
  if (kept) return;
  detector_.PutBack(changed);
  log::error("watch: what was learnt is not kept, which is tried again: {}", kept.error().message);
}

void Watcher::Write(MetricWriter& out) const {
  static_assert(kKinds.size() == kKindCount);
  using prometheus::MetricType;
  out.Family("hallmark_alerts_total", "Alerts raised, by kind", MetricType::Counter);
  for (std::size_t i = 0; i < kKinds.size(); ++i) out.Counter({{"kind", kKinds[i]}}, raised_[i].load());
  out.Family("hallmark_suspended_total", "Partners that the watcher suspended", MetricType::Counter);
  out.Counter({}, suspended_.load());
  out.Family("hallmark_watch_dropped_total", "Messages that the watcher had no room for", MetricType::Counter);
  out.Counter({}, parts_.traffic.dropped());
  if (parts_.webhook != nullptr) parts_.webhook->Write(out);
}

}  // namespace hallmark::watch
