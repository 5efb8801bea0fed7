#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "signerd/ledger/index.h"
#include "signerd/ledger/tree_files.h"

namespace hallmark::ledger {

// Keeps what is derived from the ledger, the search index and the tree's hashes, behind the hot path: one thread of its
// own follows the durable size, reads the records from their segments, and never waits for or holds up the writer. What
// is missing or not plausible at the start is made anew. Any thread may call.
class Indexer {
 public:
  // `durable_size`: how many records are durable now; any thread, does not wait.
  static std::unique_ptr<Indexer> Start(const std::filesystem::path& ledger_directory,
                                        std::function<std::uint64_t()> durable_size);
  ~Indexer();

  struct State {
    std::uint64_t indexed = 0;  // records below this can be found and proved
    bool rebuilding = false;
    std::string problem;  // why it does not go on; empty: nothing is wrong
  };
  State state() const;
  // Waits until `size` records are indexed, at most so long. False when they are not.
  bool WaitFor(std::uint64_t size, std::chrono::milliseconds most) const;

  // Makes all of it anew while the ledger goes on; returns at once. Until it is done less is found: state() says.
  void Rebuild();

  // kLedgerUnavailable until the index is open, which it is soon after the start. Otherwise as of Index and TreeFiles.
  Result<SearchResult> Search(const Query& query, const SearchPage& page) const;
  Result<std::string> Record(std::uint64_t sequence) const;
  Result<std::map<std::string, DayTotal>> Totals(std::int64_t day) const;
  Status DropBefore(std::uint64_t first, const std::function<bool()>& go_on) const;
  Result<std::shared_ptr<const TreeFiles>> tree() const;

 private:
  Indexer(std::filesystem::path directory, std::function<std::uint64_t()> durable_size)
      : directory_(std::move(directory)), durable_size_(std::move(durable_size)) {}
  void Run();
  Status Follow();
  Status OpenDerived();
  Status CheckFrontier(const SegmentHeader& header) const;
  void RemoveDerived();
  Status TakePruned();
  Status CatchUp(std::uint64_t size);
  Status AddRecord(std::string_view octets, std::uint64_t offset);
  Status Publish();
  bool Wait(std::chrono::milliseconds interval);
  Result<std::shared_ptr<Index>> index() const;

  const std::filesystem::path directory_;
  const std::function<std::uint64_t()> durable_size_;

  mutable std::mutex mutex_;  // guards all that follows, but for reader_ and record_
  mutable std::condition_variable changed_;
  std::shared_ptr<Index> index_;
  std::shared_ptr<TreeFiles> tree_;
  State state_;
  bool stop_ = false, rebuild_ = false;

  std::optional<SegmentReader> reader_;  // of the thread
  v1::Record record_;                    // of the thread
  std::thread thread_;
};

}  // namespace hallmark::ledger
