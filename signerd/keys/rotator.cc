#include "signerd/keys/rotator.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "firmware/runtime/log.h"
#include "signerd/keys/rotation_policy.h"

namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;
using snapshot::KeyState;
using snapshot::RecordState;
using std::chrono::sys_seconds;
using store::KeyLife;
using store::RotationCommit;

constexpr std::chrono::milliseconds kLockWait = 3s;     // of an operator's act: others of its lane wait behind it
constexpr std::chrono::milliseconds kStepWait = 10min;  // of a step: longer than any other takes
constexpr std::chrono::seconds kClockNoise = 60s;
constexpr std::chrono::seconds kFirstRetry = 10s, kLongestRetry = 10min;
constexpr std::chrono::seconds kWaitingLook = 5min, kSettledLook = 1h, kLongestSleep = 24h;
constexpr int kMostRounds = 100;   // steps of one look: more than any domain has
constexpr int kMostEvents = 1000;  // of one key: more than any has
constexpr std::string_view kByPolicy = "policy";

std::chrono::seconds RetryAfter(int failures) {
  return std::min(kLongestRetry, std::chrono::seconds(kFirstRetry.count() << std::min(failures, 8)));
}

// An officer has said that nothing it signed shall verify any more: its record goes, also while the domain is paused.
bool IsBeingRevoked(const KeyLife& key) {
  return key.key.state == KeyState::kRevoked && key.key.record == RecordState::kUnretentive;
}

// How often the record is looked at beside the steps; nothing where that is not ours to do.
std::optional<std::chrono::seconds> LookEvery(const KeyLife& key, bool paused) {
  if (paused && key.key.state != KeyState::kActive && !IsBeingRevoked(key)) return std::nullopt;
  switch (key.key.state) {
    case KeyState::kPublished:
      if (key.visible_since == sys_seconds{}) return std::nullopt;  // a step waits for it, and looks
      return kWaitingLook;
    case KeyState::kActive:
    case KeyState::kRetiring:
      if (key.publisher.empty()) return std::nullopt;  // made by hand
      return key.key.record == RecordState::kVisible ? kSettledLook : kWaitingLook;
    case KeyState::kRevoked:
    case KeyState::kWithdrawn:
      if (key.key.record == RecordState::kUnretentive) return kWaitingLook;
      return std::nullopt;
    default: return std::nullopt;
  }
}

// Whether an operator has revoked it, and its record, which is ours to change, does not say so yet. That a rotation
// revokes what has retired hurries nobody.
bool WaitsToBeRevoked(store::Store& store, const KeyLife& key) {
  if (!IsBeingRevoked(key) || key.publisher == kManual) return false;
  if (key.fate == store::Fate::kCompromised) return true;
  const auto events = store.ListKeyEvents(key.key.domain, key.key.selector, 0, kMostEvents);
  return !events || std::any_of(events->begin(), events->end(), [](const store::KeyEvent& event) {
    return event.axis == "key" && event.to == StateName(KeyState::kRevoked) && event.done != sys_seconds{} &&
           event.by != kByPolicy;
  });
}

// Whether keys that are not to be trusted still sign, or verify. Store::ListUrgentDomains() says the same.
bool IsUrgent(store::Store& store, const store::DomainLife& life) {
  const auto& rotation = life.rotation;
  if (rotation.emergency || rotation.wanted == store::Wanted::kEmergency) return true;
  return std::any_of(life.keys.begin(), life.keys.end(), [&](const KeyLife& key) {
    const bool condemned = key.fate == store::Fate::kCompromised && key.key.state == KeyState::kRetiring;
    return condemned || WaitsToBeRevoked(store, key);
  });
}

}  // namespace

Rotator::Rotator(RotationParts parts, DomainLocks& locks) : parts_(std::move(parts)), locks_(locks) {}

store::KeyEvent Rotator::DomainEvent(const std::string& domain, const std::string& to, const std::string& by,
                                     const std::string& note) const {
  const auto now = parts_.clock.Now();
  return {0, domain, "", "domain", "", to, now, now, by, note};
}

Rotator::Memory Rotator::Recall(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  const auto known = memories_.find(domain);
  return known == memories_.end() ? Memory() : known->second;
}

void Rotator::Remember(const std::string& domain, Memory memory) {
  const std::lock_guard lock(mutex_);
  if (memory.seen.empty() && memory.trouble.empty()) {
    memories_.erase(domain);  // most domains of a hundred thousand
  } else {
    memories_[domain] = std::move(memory);
  }
}

Result<Rotator::Held> Rotator::Load(const std::string& domain, std::chrono::milliseconds wait) {
  auto guard = locks_.Acquire(domain, wait);
  if (!guard) return MakeError(Reason::kStateConflict, "a step of the rotation of " + domain + " is made: try again");
  auto life = parts_.store.GetDomainLife(domain);
  if (!life) return life.error();
  auto policy = PolicyOf(parts_.store, domain);
  if (!policy) return policy.error();
  return Held{std::move(*guard), std::move(*life), std::move(*policy)};
}

Result<Rotator::Held> Rotator::Hold(const std::string& domain) { return Load(domain, kLockWait); }

Status Rotator::TurnBack(store::DomainLife& life, sys_seconds now) {
  RotationCommit commit;
  commit.domain = life.domain;
  const auto ahead = [now](sys_seconds time) { return time > now + kClockNoise; };
  for (KeyLife& key : life.keys) {
    if (!ahead(key.key.state_since) && !ahead(key.visible_since)) continue;
    key.key.state_since = std::min(key.key.state_since, now);
    key.visible_since = std::min(key.visible_since, now);
    commit.keys.push_back({key, key.key.state});
  }
  if (ahead(life.rotation.wanted_since)) {
    life.rotation.wanted_since = now;
    commit.rotation = life.rotation;
  }
  if (commit.keys.empty() && !commit.rotation) return Ok();
  commit.events.push_back(
      DomainEvent(life.domain, "CLOCK", std::string(kByPolicy), "the clock went back: times count from now"));
  return parts_.store.CommitRotation(commit);
}

Status Rotator::MakeDue(Held& held, Memory& memory) {
  const sys_seconds now = parts_.clock.Now();
  Status first = Ok();
  std::set<std::pair<Work, std::string>> failed;
  for (int round = 0; round < kMostRounds; ++round) {
    bool made = false;
    for (const Step& step : Plan(held.life, held.policy, now)) {
      if (step.due > now || failed.contains({step.work, step.selector})) continue;
      const Status waited = step.waits_since ? parts_.counts_since(*step.waits_since) : Ok();
      if (!waited) {
        if (first) first = MakeError(waited.error().reason, "a step waits for its time: " + waited.error().message);
        continue;
      }
      std::unique_lock pairs(locks_.pairs, std::defer_lock);
      if (step.work == Work::kDestroy) pairs.lock();
      StepMaker maker(parts_, memory.seen, held.life, held.policy);
      const Status done = maker.Make(step);
      if (!done) {
        failed.emplace(step.work, step.selector);
        if (first) first = done;
      } else if (step.work == Work::kActivate) {
        log::info("{}: its new keys sign", held.life.domain);
      }
      // Whether it went well or not: the store may have changed.
      auto life = parts_.store.GetDomainLife(held.life.domain);
      if (!life) return life.error();
      held.life = std::move(*life);
      made = true;
      break;
    }
    if (!made) break;
  }
  return first;
}

sys_seconds Rotator::LookDue(const Seen& seen, const KeyLife& key, std::chrono::seconds every,
                             const Memory& memory) const {
  // Another record may be expected since; not by a clock that was set back and is not trusted yet.
  if (seen.time <= key.key.state_since && key.key.state_since <= parts_.clock.Now()) return key.key.state_since;
  return seen.problem.empty() ? seen.time + every : std::min(seen.time + every, memory.next_try);
}

Status Rotator::WatchRecords(Held& held, Memory& memory) {
  const sys_seconds now = parts_.clock.Now();
  const bool paused = held.life.rotation.paused;
  Status first = Ok();
  bool looked = false;
  for (const KeyLife& key : held.life.keys) {
    const auto every = LookEvery(key, paused);
    if (!every) continue;
    const auto last = memory.seen.find(key.key.selector);
    if (last != memory.seen.end() && last->second.time <= now && LookDue(last->second, key, *every, memory) > now) {
      if (first && !last->second.problem.empty()) {
        first = MakeError(Reason::kRecordNotVisible, RecordName(key.key) + ": " + last->second.problem);
      }
      continue;
    }
    looked = true;
    StepMaker maker(parts_, memory.seen, held.life, held.policy);
    const Status done = maker.Watch(key, !paused || IsBeingRevoked(key));
    const std::string& problem = memory.seen[key.key.selector].problem;
    if (!first) continue;
    if (!done) {
      first = done;
    } else if (!problem.empty()) {
      first = MakeError(Reason::kRecordNotVisible, RecordName(key.key) + ": " + problem);
    }
  }
  if (!looked) return first;
  auto life = parts_.store.GetDomainLife(held.life.domain);
  if (!life) return life.error();
  held.life = std::move(*life);
  return first;
}

sys_seconds Rotator::LookAgain(const Held& held, const Memory& memory, sys_seconds now) const {
  sys_seconds next = now + kLongestSleep;
  const bool paused = held.life.rotation.paused;
  for (const Step& step : paused ? std::vector<Step>() : Plan(held.life, held.policy, now)) {
    next = std::min(next, step.due <= now ? memory.next_try : step.due);
  }
  for (const KeyLife& key : held.life.keys) {
    const auto every = LookEvery(key, paused);
    const auto seen = memory.seen.find(key.key.selector);
    if (every && seen != memory.seen.end()) next = std::min(next, LookDue(seen->second, key, *every, memory));
  }
  return std::max(next, now + 1s);
}

// An emergency stays one, and is not put off for long by what may pass. A domain that is gone has none.
NextLook Rotator::LookAfter(const std::string& domain, const Error& error) {
  const sys_seconds now = parts_.clock.Now();
  if (error.reason == Reason::kNotFound) return {now + kLongestRetry};
  const std::lock_guard lock(mutex_);
  Memory& memory = memories_[domain];
  if (memory.trouble.empty()) memory.trouble_since = now;
  if (memory.trouble != error.message) log::error("{}: {}", domain, error.message);
  memory.trouble = error.message;
  return {now + RetryAfter(memory.failures++), false, true};
}

NextLook Rotator::Tick(const std::string& domain) {
  auto held = Load(domain, kStepWait);
  const sys_seconds now = parts_.clock.Now();
  if (!held) return LookAfter(domain, held.error());
  Memory memory = Recall(domain);
  // A clock that is not set yet may be back where it was before the next look.
  Status done = parts_.counts_since(now) ? TurnBack(held->life, now) : Ok();
  if (done) done = parts_.publish_again();
  if (done) {
    if (!held->life.rotation.paused) done = MakeDue(*held, memory);
    const Status watched = WatchRecords(*held, memory);
    if (done) done = watched;
  }
  if (done) {
    if (!memory.trouble.empty()) log::info("{}: the rotation goes on", domain);
    memory.trouble.clear();
    memory.failures = 0;
  } else {
    // One line for each new trouble, however often it is tried.
    if (memory.trouble.empty()) memory.trouble_since = now;
    if (memory.trouble != done.error().message) log::warn("{}: the rotation waits: {}", domain, done.error().message);
    memory.trouble = done.error().message;
    // A look before its time, because something else was due or asked for, tried nothing of this again.
    const bool tried = memory.next_try <= now || memory.next_try > now + kLongestRetry;
    if (tried) memory.next_try = now + RetryAfter(memory.failures++);
  }
  const sys_seconds next = LookAgain(*held, memory, now);
  Remember(domain, std::move(memory));
  return {next, IsUrgent(parts_.store, held->life)};
}

std::map<std::string, std::string> Rotator::Troubles(std::chrono::seconds age) {
  const sys_seconds now = parts_.clock.Now();
  std::map<std::string, std::string> troubles;
  const std::lock_guard lock(mutex_);
  for (const auto& [domain, memory] : memories_) {
    if (!memory.trouble.empty() && memory.trouble_since + age <= now) troubles.emplace(domain, memory.trouble);
  }
  return troubles;
}

Result<RotationView> Rotator::View(const std::string& domain) {
  RotationView view;
  auto life = parts_.store.GetDomainLife(domain);
  if (!life) return life.error();
  auto policy = PolicyOf(parts_.store, domain);
  if (!policy) return policy.error();
  view.life = std::move(*life);
  view.policy = std::move(*policy);
  view.inherited = view.policy.domain.empty();
  view.steps = Plan(view.life, view.policy, parts_.clock.Now());
  Memory memory = Recall(domain);
  view.seen = std::move(memory.seen);
  view.trouble = std::move(memory.trouble);
  view.trouble_since = memory.trouble_since;
  return view;
}

}  // namespace hallmark::keys
