#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
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
};
struct Pruned {
  std::uint64_t segments = 0;
  std::uint64_t first = 0;  // the first record that is left
};
// Deletes whole segments, the oldest first, and keeps of each what proves the rest. Never the last one, and only what
// is indexed and under the checkpoint. A crash in between leaves a segment both whole and pruned, which the next run
// ends. kIoFailed. One thread at a time.
Result<Pruned> Prune(const PruneInput& input);

// Deletes what has been kept long enough, once an hour and whenever the days change. Any thread.
class Retention {
 public:
  static constexpr std::int64_t kMostDays = 36'500;

  // `default_days`: the configuration's; 0: for ever. What was stored with Set() comes before it. kIoFailed and
  // kInvalidArgument: what was stored cannot be read.
  static Result<std::unique_ptr<Retention>> Start(Ledger& ledger, Indexer& indexer, const Clock& clock,
                                                  std::int64_t default_days);
  ~Retention();

  struct State {
    std::int64_t days = 0, default_days = 0;
    bool stored = false;      // whether `days` was set by an operator
    std::uint64_t first = 0;  // the first record that is not deleted
    std::string problem;      // why the last deletion failed; empty: it did not
  };
  State state() const;
  // Stores `days`; nothing: back to the configuration's. Durable on return. kInvalidArgument, kIoFailed.
  Status Set(std::optional<std::int64_t> days);

 private:
  Retention(Ledger& ledger, Indexer& indexer, const Clock& clock) : ledger_(ledger), indexer_(indexer), clock_(clock) {}
  void Run();
  Status DeleteOld(std::int64_t days);

  Ledger& ledger_;
  Indexer& indexer_;
  const Clock& clock_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  State state_;
  bool stop_ = false, changed_ = false;
  std::thread thread_;
};

}  // namespace hallmark::ledger
