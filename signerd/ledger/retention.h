#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "firmware/runtime/clock.h"
#include "signerd/ledger/indexer.h"
#include "signerd/ledger/ledger.h"

namespace hallmark::ledger {

// What one deletion needs to know.
struct PruneInput {
  std::filesystem::path directory;
  std::int64_t before_us = 0;  // segments whose newest record is older go
  std::uint64_t indexed = 0;   // records below this are in `tree`
  std::string checkpoint;      // the newest signed note
  const TreeFiles& tree;
  std::function<bool()> go_on = [] { return true; };  // asked before each segment; false ends it
};
struct Pruned {
  std::uint64_t segments = 0;
  std::uint64_t first = 0;  // the first record that is left
};
// Deletes whole segments, the oldest first, and keeps of each what proves the rest. Never the last one, and only what
// is indexed and under the checkpoint. A crash in between leaves a segment both whole and pruned, which the next run
// ends. kIoFailed; kInvalidArgument, and nothing is deleted: the hashes do not lead from the segment to the next one.
// One thread at a time, while nobody reads the segments for long.
Result<Pruned> Prune(const PruneInput& input);

// Deletes what has been kept long enough, once an hour and whenever the days change. Any thread.
//
// What a clock that is ahead would delete cannot be brought back, so the clock is believed only as far as it goes on
// from a time that was seen before: that of the last look, which a file keeps, or where there is none that of the
// ledger's last record. It may be ahead of that, beside the time that has passed since the start, by half of what is
// kept, at most by kMostSilence: so long the box may have been off. Further on nothing is deleted until the clock is
// right, or someone says with Set() that it is. Long before that, from kMostAhead on, CountsSince() doubts it for
// others, and the last time that is certain goes on only with what has passed.
class Retention {
 public:
  static constexpr std::int64_t kMostDays = 36'500;
  static constexpr std::chrono::days kMostSilence{30}, kMostAhead{1};

  struct Parts {
    Ledger& ledger;
    Indexer& indexer;
    const Clock& clock;
    std::int64_t default_days;  // the configuration's; 0: for ever. What was stored with Set() comes before it
    std::chrono::sys_seconds last_record;  // the time of the ledger's last record at the start; 0: it is not known
    // Why the clock cannot be believed: kLedgerUnavailable where that is not known yet. Any thread.
    std::function<Status()> clock_is_set;
  };
  // kIoFailed and kInvalidArgument: what was stored cannot be read.
  static Result<std::unique_ptr<Retention>> Start(Parts parts);
  ~Retention();

  struct State {
    std::int64_t days = 0, default_days = 0;
    bool stored = false;      // whether `days` was set by an operator
    std::uint64_t first = 0;  // the first record that is not deleted
    std::string problem;      // why the last deletion failed; empty: it did not
    std::string clock_doubt;  // why the clock is not believed; then Set() says that it is right. Empty: it is
  };
  State state() const;
  // Stores `days`; nothing: back to the configuration's. Where state() doubts the clock this says that it is right.
  // Durable on return; what fails holds neither now nor from the next start on. kInvalidArgument, kIoFailed.
  Status Set(std::optional<std::int64_t> days);
  // For others, whose steps a clock that is ahead must not make too early: whether as much time has passed since `time`
  // as the clock says. So it is where the clock is set, and either no further ahead than by kMostAhead, or was as far
  // ahead at `time`. kLedgerUnavailable: that is not known yet; kStateConflict, with what to do. Any thread.
  Status CountsSince(std::chrono::sys_seconds time);

 private:
  explicit Retention(Parts parts) : parts_(std::move(parts)) {}
  void Run();
  Status DeleteOld(std::int64_t days);
  Result<Pruned> PruneOld(std::int64_t days, std::chrono::sys_seconds now, bool believed);
  // False when there is something else to do. Waits so long before.
  bool GoesOn(std::chrono::milliseconds wait);
  void PutBack();
  Status BelieveClock(std::int64_t days, std::chrono::sys_seconds now);
  // How far ahead of the last time that is certain; keeps what is to be doubted. Under mutex_.
  std::chrono::seconds Ahead(std::chrono::sys_seconds now);

  const Parts parts_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  State state_;
  // A time that had passed when the steady clock was at `seen_at_`. Nothing: the ledger was empty at the start, and the
  // first time that a clock that is set says will do.
  std::optional<std::chrono::sys_seconds> seen_;
  std::chrono::steady_clock::time_point seen_at_;
  std::chrono::sys_seconds doubted_from_{};  // by that clock; of the doubt that state_ has
  bool stop_ = false, changed_ = false;
  std::thread thread_;
};

}  // namespace hallmark::ledger
