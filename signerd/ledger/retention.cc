#include "signerd/ledger/retention.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/ledger/ledger_file.h"
#include "signerd/ledger/torn.h"

namespace hallmark::ledger {
namespace {

constexpr std::chrono::hours kInterval{1};
constexpr std::chrono::seconds kSoon{10};  // the first checkpoint is not there yet, the clock is not set, ...
// Between two parts of the index: SQLite looks every tenth of a second whether the indexer may write.
constexpr std::chrono::milliseconds kBetweenParts{150};
constexpr std::int64_t kMicrosecondsOfDay = 86'400'000'000;

std::filesystem::path StoredPath(const Ledger& ledger) { return ledger.directory() / "retention"; }
// The newest time that a look found to be plausible, in seconds since 1970.
std::filesystem::path SeenPath(const Ledger& ledger) { return ledger.directory() / "retention-time"; }

Status CheckDays(std::int64_t days) {
  if (days >= 0 && days <= Retention::kMostDays) return Ok();
  return MakeError(Reason::kInvalidArgument,
                   "keep_days: expected 0 (for ever) to " + std::to_string(Retention::kMostDays));
}

// A line with a number; nothing where there is no file.
Result<std::optional<std::int64_t>> ReadNumber(const std::filesystem::path& file) {
  const auto content = ReadFile(file);
  if (!content && content.error().reason == Reason::kNotFound) return std::optional<std::int64_t>();
  if (!content) return content.error();
  std::int64_t number = 0;
  const char* const end = content->data() + content->size();
  const auto [rest, error] = std::from_chars(content->data(), end, number);
  if (error != std::errc() || std::string_view(rest, end) != "\n") {
    return MakeError(Reason::kInvalidArgument, file.string() + ": is not a number");
  }
  return std::optional(number);
}

// The day: what is told of it stays the same for as long.
std::string DateText(std::chrono::sys_seconds time) {
  const std::time_t seconds = time.time_since_epoch().count();
  std::tm parts{};
  std::array<char, 32> text{};
  ::gmtime_r(&seconds, &parts);
  return {text.data(), std::strftime(text.data(), text.size(), "%F", &parts)};
}

// How long the box may have been off where records are kept for so long.
std::chrono::seconds MostSilence(std::int64_t days) {
  const std::chrono::seconds most(Retention::kMostSilence), half = std::chrono::seconds(std::chrono::days(days)) / 2;
  return days == 0 ? most : std::min(most, half);
}

Status KeepSeen(const Ledger& ledger, std::chrono::sys_seconds time) {
  return WriteFileAtomically(SeenPath(ledger), std::to_string(time.time_since_epoch().count()) + "\n");
}

Status Remove(const std::filesystem::path& file) {
  std::error_code failed;
  std::filesystem::remove(file, failed);
  if (!failed) return SyncFolder(file.parent_path());
  return MakeError(Reason::kIoFailed, file.string() + ": cannot delete: " + failed.message());
}

// The hashes of the segment's records. The files that they come from are derived, and the records go for good: so they
// must lead from the tree that this segment was begun behind to the one of the next.
Result<std::vector<Hash>> HashesOf(const PruneInput& input, const SegmentHeader& header, const SegmentHeader& next) {
  const std::uint64_t count = next.first - header.first;
  auto nodes = input.tree.Cover(header.first, count);
  if (!nodes) return nodes;
  auto tree = CompactTree::From(header.first, header.frontier);
  if (!tree) return tree.error();
  const std::vector<unsigned> levels = SubtreeLevels(header.first, count);
  for (std::size_t i = 0; i < levels.size(); ++i) tree->AppendSubtree(levels[i], (*nodes)[i]);
  if (tree->nodes() == next.frontier) return nodes;
  return MakeError(Reason::kInvalidArgument,
                   "the hashes of records " + std::to_string(header.first) + " to " + std::to_string(next.first - 1) +
                       " are not those that the next segment says: verify the ledger, and make its index anew "
                       "(dkimctl ledger verify, rebuild-index)");
}

// Of all records that are left of the segment: damage does not keep the others for ever.
Result<std::int64_t> NewestTime(SegmentReader segment) {
  std::int64_t newest = INT64_MIN;
  v1::Record record;
  while (true) {
    const auto octets = segment.Next();
    if (!octets && octets.error().reason != Reason::kInvalidArgument) return octets.error();
    if (!octets || !*octets) return newest;
    if (!record.ParseFromArray((*octets)->data(), static_cast<int>((*octets)->size()))) continue;
    newest = std::max(newest, record.time_us());
  }
}

// The hashes first, durable under their name; then the records go.
Status PruneOne(const PruneInput& input, const SegmentFile& file, const SegmentHeader& header,
                const SegmentHeader& next) {
  auto nodes = HashesOf(input, header, next);
  if (!nodes) return nodes.error();
  const PrunedSegment pruned{header, next.first - header.first, std::move(*nodes), input.checkpoint};
  const Status kept = WriteFileAtomically(SegmentPath(input.directory, header.first, true), EncodePruned(pruned));
  if (!kept) return kept;
  for (const auto& torn : TornFiles(file.path)) {  // it may hold what is to be deleted, too
    const Status removed = Remove(torn);
    if (!removed) return removed;
  }
  return Remove(file.path);
}

}  // namespace

Result<Pruned> Prune(const PruneInput& input) {
  const auto head = ParseCheckpoint(input.checkpoint);
  if (!head) return head.error();
  const auto segments = ListSegments(input.directory);
  if (!segments) return segments.error();
  Pruned result;
  for (std::size_t i = 0; i < segments->size(); ++i) {
    const SegmentFile& file = (*segments)[i];
    result.first = file.first;
    if (file.pruned) continue;
    if (i + 1 == segments->size() || !input.go_on()) break;
    const std::uint64_t end = (*segments)[i + 1].first;
    auto reader = SegmentReader::Open(file.path);
    if (!reader) return reader.error();
    const auto next = SegmentReader::Open((*segments)[i + 1].path);
    if (!next) return next.error();
    // The next segment was begun when this one's newest record was written, or later; unless the clock was set back in
    // between, or was behind for a while: so the records say it, where that is not told without a look at them.
    if (next->header().created_us >= input.before_us || end > input.indexed || end > head->size) break;
    const SegmentHeader header = reader->header();
    const auto newest = NewestTime(std::move(*reader));
    if (!newest) return newest.error();
    if (*newest >= input.before_us) break;
    const Status done = PruneOne(input, file, header, next->header());
    if (!done) return done.error();
    ++result.segments;
  }
  return result;
}

Result<std::unique_ptr<Retention>> Retention::Start(Parts parts) {
  const auto stored = ReadNumber(StoredPath(parts.ledger));
  if (!stored) return stored.error();
  if (*stored && !CheckDays(**stored)) {
    return MakeError(Reason::kInvalidArgument, StoredPath(parts.ledger).string() + ": is not a number of days");
  }
  const auto seen = ReadNumber(SeenPath(parts.ledger));
  if (!seen) return seen.error();
  std::unique_ptr<Retention> retention(new Retention(std::move(parts)));
  Retention& made = *retention;
  made.state_.default_days = made.parts_.default_days;
  made.state_.days = stored->value_or(made.parts_.default_days);
  made.state_.stored = stored->has_value();
  made.seen_at_ = std::chrono::steady_clock::now();
  if (*seen) {
    made.seen_ = std::chrono::sys_seconds(std::chrono::seconds(**seen));
  } else if (made.parts_.ledger.durable().size != 0) {
    // Kept at once: records of this start may be of a wrong time, which the next start must not take for a right one.
    const Status kept = KeepSeen(made.parts_.ledger, made.parts_.last_record);
    if (!kept) return kept.error();
    made.seen_ = made.parts_.last_record;
  }
  made.thread_ = std::thread([&made] { made.Run(); });
  return retention;
}

Retention::~Retention() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

Retention::State Retention::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

Status Retention::Set(std::optional<std::int64_t> days) {
  if (days) {
    const Status possible = CheckDays(*days);
    if (!possible) return possible;
  }
  const std::lock_guard lock(mutex_);
  const Status stored = days ? WriteFileAtomically(StoredPath(parts_.ledger), std::to_string(*days) + "\n")
                             : Remove(StoredPath(parts_.ledger));
  if (!stored) {
    PutBack();
    return stored;
  }
  state_.days = days.value_or(state_.default_days);
  state_.stored = days.has_value();
  if (!state_.clock_doubt.empty()) {
    seen_ = parts_.clock.Now();
    seen_at_ = std::chrono::steady_clock::now();
    state_.clock_doubt.clear();
  }
  changed_ = true;
  wake_.notify_all();
  return Ok();
}

// What is said to have failed must not hold from the next start on: the file may have its name, but not for certain.
void Retention::PutBack() {
  const Status done = state_.stored ? WriteFileAtomically(StoredPath(parts_.ledger), std::to_string(state_.days) + "\n")
                                    : Remove(StoredPath(parts_.ledger));
  if (!done) log::error("ledger: how long records are kept: {}", done.error().message);
}

bool Retention::GoesOn(std::chrono::milliseconds wait) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, wait, [this] { return stop_ || changed_; });
}

void Retention::Run() {
  while (true) {
    std::int64_t days = 0;
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      changed_ = false;
      days = state_.days;
    }
    const Status done = DeleteOld(days);
    const bool early = !done && done.error().reason == Reason::kLedgerUnavailable;
    std::unique_lock lock(mutex_);
    const std::string problem = done || early ? "" : done.error().message;
    if (!problem.empty() && problem != state_.problem) log::error("ledger: old records are not deleted: {}", problem);
    state_.problem = problem;
    const bool soon = early || (!done && done.error().reason == Reason::kStateConflict);
    const auto wait = soon ? std::chrono::duration_cast<std::chrono::seconds>(kSoon) : kInterval;
    wake_.wait_for(lock, wait, [this] { return stop_ || changed_; });
  }
}

std::chrono::seconds Retention::Ahead(std::chrono::sys_seconds now) {
  using std::chrono::seconds;
  const auto steady = std::chrono::steady_clock::now();
  if (!seen_) {
    seen_ = now;
    seen_at_ = steady;
  }
  const auto expected = *seen_ + std::chrono::duration_cast<seconds>(steady - seen_at_);
  const seconds ahead = now - expected, most = std::min(seconds(kMostAhead), MostSilence(state_.days));
  if (ahead <= most) {
    state_.clock_doubt.clear();
    return ahead;
  }
  if (state_.clock_doubt.empty()) doubted_from_ = now;
  state_.clock_doubt = "the clock says " + DateText(now) + ", and the last time that is certain is " +
                       DateText(expected) +
                       ". Set the clock; or, where it is right and the box was off for so long, say again how long "
                       "records are kept (dkimctl ledger retention --keep-days " +
                       std::to_string(state_.days) + ").";
  return ahead;
}

Status Retention::CountsSince(std::chrono::sys_seconds time) {
  const Status set = parts_.clock_is_set();
  if (!set) return set;
  const auto now = parts_.clock.Now();
  const std::lock_guard lock(mutex_);
  Ahead(now);
  const bool counts = state_.clock_doubt.empty() || time >= doubted_from_;
  return counts ? Ok() : MakeError(Reason::kStateConflict, state_.clock_doubt);
}

// Whether the clock may be right; then its time is kept for later starts.
Status Retention::BelieveClock(std::int64_t days, std::chrono::sys_seconds now) {
  const Status set = parts_.clock_is_set();
  auto certain = now;
  {
    const std::lock_guard lock(mutex_);
    if (!set) return set;
    const auto ahead = Ahead(now);
    if (ahead > MostSilence(days)) return MakeError(Reason::kStateConflict, state_.clock_doubt);
    // Of a time that is doubted the next start must not begin.
    if (!state_.clock_doubt.empty()) certain = now - ahead;
  }
  const auto kept = ReadNumber(SeenPath(parts_.ledger));
  if (!kept) return kept.error();
  // It does not go back with the clock: one that is set after each start of the box would not be believed.
  if (*kept && **kept >= certain.time_since_epoch().count()) return Ok();
  return KeepSeen(parts_.ledger, certain);
}

Result<Pruned> Retention::PruneOld(std::int64_t days, std::chrono::sys_seconds now, bool believed) {
  const auto tree = parts_.indexer.tree();
  if (!tree) return tree.error();
  const auto checkpoint = parts_.ledger.latest_checkpoint();
  if (!checkpoint) return MakeError(Reason::kLedgerUnavailable, "there is no checkpoint yet");
  const auto deleting = parts_.ledger.TryDeleteSegments();
  if (!deleting) return MakeError(Reason::kLedgerUnavailable, "somebody reads the ledger");
  const std::int64_t now_us = std::chrono::microseconds(now.time_since_epoch()).count();
  const std::int64_t before = days == 0 || !believed ? INT64_MIN : now_us - days * kMicrosecondsOfDay;
  return Prune({parts_.ledger.directory(), before, (*tree)->size(), *checkpoint, **tree,
                [this] { return GoesOn(std::chrono::milliseconds(0)); }});
}

Status Retention::DeleteOld(std::int64_t days) {
  const auto now = parts_.clock.Now();
  const Status believed = BelieveClock(days, now);
  const auto pruned = PruneOld(days, now, believed.has_value());
  if (!pruned) return pruned.error();
  {
    const std::lock_guard lock(mutex_);
    state_.first = pruned->first;
  }
  if (pruned->segments != 0) {
    log::info("ledger: deleted {} segments, whose records are older than {} days; record {} is the first that is left",
              pruned->segments, days, pruned->first);
  }
  // At each look: the last one may have failed, or ended with the daemon.
  const Status dropped = parts_.indexer.DropBefore(pruned->first, [this] { return GoesOn(kBetweenParts); });
  // Where nothing is deleted a clock that is ahead is still to be told: others wait for it.
  const bool looked = believed || believed.error().reason != Reason::kLedgerUnavailable;
  if (!believed && (days != 0 || !looked)) return believed;
  return dropped ? dropped : MakeError(dropped.error().reason, "the index still has them: " + dropped.error().message);
}

}  // namespace hallmark::ledger
