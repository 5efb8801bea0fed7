#include "signerd/ledger/retention.h"

#include <charconv>

#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"
#include "signerd/ledger/ledger_file.h"

namespace hallmark::ledger {
namespace {

constexpr std::chrono::hours kInterval{1};
constexpr std::chrono::seconds kNotReadyYet{10};  // the index or the first checkpoint is not there yet
constexpr std::int64_t kMicrosecondsOfDay = 86'400'000'000;

std::filesystem::path StoredPath(const Ledger& ledger) { return ledger.directory() / "retention"; }

Status CheckDays(std::int64_t days) {
  if (days >= 0 && days <= Retention::kMostDays) return Ok();
  return MakeError(Reason::kInvalidArgument,
                   "keep_days: expected 0 (for ever) to " + std::to_string(Retention::kMostDays));
}

Result<std::optional<std::int64_t>> ReadStored(const std::filesystem::path& file) {
  const auto content = ReadFile(file);
  if (!content && content.error().reason == Reason::kNotFound) return std::optional<std::int64_t>();
  if (!content) return content.error();
  std::int64_t days = -1;
  const char* const end = content->data() + content->size();
  const auto [rest, error] = std::from_chars(content->data(), end, days);
  if (error != std::errc() || std::string_view(rest, end) != "\n" || !CheckDays(days)) {
    return MakeError(Reason::kInvalidArgument, file.string() + ": is not a number of days");
  }
  return std::optional(days);
}

Status Remove(const std::filesystem::path& file) {
  std::error_code failed;
  std::filesystem::remove(file, failed);
  if (!failed) return SyncFolder(file.parent_path());
  return MakeError(Reason::kIoFailed, file.string() + ": cannot delete: " + failed.message());
}

// The hashes first, durable under their name; then the records go.
Status PruneOne(const PruneInput& input, const SegmentFile& file, const SegmentHeader& header, std::uint64_t end) {
  auto nodes = input.tree.Cover(header.first, end - header.first);
  if (!nodes) return nodes.error();
  const PrunedSegment pruned{header, end - header.first, std::move(*nodes), input.checkpoint};
  const Status kept = WriteFileAtomically(SegmentPath(input.directory, header.first, true), EncodePruned(pruned));
  return kept ? Remove(file.path) : kept;
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
    if (i + 1 == segments->size()) break;
    const std::uint64_t end = (*segments)[i + 1].first;
    const auto reader = SegmentReader::Open(file.path);
    if (!reader) return reader.error();
    const auto next = SegmentReader::Open((*segments)[i + 1].path);
    if (!next) return next.error();
    // The next segment was begun when this one's newest record was written, or later.
    if (next->header().created_us >= input.before_us || end > input.indexed || end > head->size) break;
    const Status done = PruneOne(input, file, reader->header(), end);
    if (!done) return done.error();
    ++result.segments;
  }
  return result;
}

Result<std::unique_ptr<Retention>> Retention::Start(Ledger& ledger, Indexer& indexer, const Clock& clock,
                                                    std::int64_t default_days) {
  const auto stored = ReadStored(StoredPath(ledger));
  if (!stored) return stored.error();
  std::unique_ptr<Retention> retention(new Retention(ledger, indexer, clock));
  retention->state_.default_days = default_days;
  retention->state_.days = stored->value_or(default_days);
  retention->state_.stored = stored->has_value();
  retention->thread_ = std::thread([raw = retention.get()] { raw->Run(); });
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
  const Status stored =
      days ? WriteFileAtomically(StoredPath(ledger_), std::to_string(*days) + "\n") : Remove(StoredPath(ledger_));
  if (!stored) return stored;
  state_.days = days.value_or(state_.default_days);
  state_.stored = days.has_value();
  changed_ = true;
  wake_.notify_all();
  return Ok();
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
    const auto wait = early ? std::chrono::duration_cast<std::chrono::seconds>(kNotReadyYet) : kInterval;
    wake_.wait_for(lock, wait, [this] { return stop_ || changed_; });
  }
}

Status Retention::DeleteOld(std::int64_t days) {
  const auto tree = indexer_.tree();
  if (!tree) return tree.error();
  const auto checkpoint = ledger_.latest_checkpoint();
  if (!checkpoint) return MakeError(Reason::kLedgerUnavailable, "there is no checkpoint yet");
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(clock_.Now().time_since_epoch()).count();
  const std::int64_t before = days == 0 ? INT64_MIN : now - days * kMicrosecondsOfDay;
  const auto pruned = Prune({ledger_.directory(), before, (*tree)->size(), *checkpoint, **tree});
  if (!pruned) return pruned.error();
  {
    const std::lock_guard lock(mutex_);
    state_.first = pruned->first;
  }
  if (pruned->segments == 0) return Ok();
  log::info("ledger: deleted {} segments, whose records are older than {} days; record {} is the first that is left",
            pruned->segments, days, pruned->first);
  return indexer_.DropBefore(pruned->first);
}

}  // namespace hallmark::ledger
