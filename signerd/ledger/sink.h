#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "firmware/runtime/file.h"
#include "firmware/runtime/result.h"

namespace hallmark::ledger {

enum class SinkKind : std::uint8_t { kFile, kJournald };

// A second place for every record, as a line of JSON.
struct SinkConfig {
  SinkKind kind = SinkKind::kFile;
  std::filesystem::path path;  // kFile
  // Answers wait until the sink has their records, at most `timeout`, and then fail with kLedgerUnavailable: the
  // signature stands in the ledger, but is not given out. Otherwise what the sink cannot take is dropped and counted.
  bool required = false;
  std::chrono::milliseconds timeout{2000};
};

struct SinkStatus {
  bool required = false, available = true;
  std::uint64_t written = 0, dropped = 0;  // records
};

// Two threads: one writes, the other answers what has waited too long. So a sink that hangs holds up nothing else.
// While it takes nothing it is tried again twice a second, without anybody asking: who cannot sign is not asked.
class Sink {
 public:
  static constexpr std::size_t kMostQueuedOctets = 64u << 20;  // of records; and so many batches at most
  static constexpr std::size_t kMostQueued = 8192;
  // How long the end may take where it takes what is queued. Once it does not, the rest is dropped and counted.
  static constexpr std::chrono::seconds kMostEnd{5};

  using Done = std::function<void(Result<std::uint64_t>)>;
  static Result<std::unique_ptr<Sink>> Start(const SinkConfig& config);
  ~Sink();

  // Any thread; does not wait. `done` is called once with `first`, at once where the sink is not required.
  void Send(std::vector<std::string> records, std::uint64_t first, Done done);
  SinkStatus status() const;

 private:
  struct Entry {
    std::vector<std::string> records;
    std::uint64_t first;
    std::chrono::steady_clock::time_point expires;
    Done done;  // empty once it was answered
    std::size_t octets;
  };
  explicit Sink(SinkConfig config) : config_(std::move(config)) {}
  void Run();
  // The next one; null at the end.
  std::shared_ptr<Entry> Take();
  void Watch();
  Status Write(const Entry& entry);
  Status WriteLine(std::string line, std::chrono::steady_clock::time_point until);
  // Waits until the file takes something. False: it does not in time.
  bool AwaitRoom(std::chrono::steady_clock::time_point until) const;
  // Whether it would take a record now.
  Status Probe();
  Status Reopen();
  void SetState(const Status& state);
  void Drop(const std::shared_ptr<Entry>& entry, const Status& why);

  const SinkConfig config_;
  FileDescriptor file_;                         // of the writing thread
  bool torn_ = false;                           // of the writing thread: the file ends within a line
  mutable std::mutex mutex_;                    // guards all that follows
  std::condition_variable wake_;                // the writing thread
  std::condition_variable watch_;               // the other
  std::deque<std::shared_ptr<Entry>> queue_;    // to be written
  std::size_t queued_octets_ = 0;               // of their records
  std::deque<std::shared_ptr<Entry>> waiting_;  // with a `done`, the oldest first
  SinkStatus status_;
  bool stop_ = false;
  std::chrono::steady_clock::time_point last_;  // once stop_ is set: nothing is written after it
  std::thread writer_, watcher_;
};

}  // namespace hallmark::ledger
