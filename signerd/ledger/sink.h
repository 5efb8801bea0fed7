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
class Sink {
 public:
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
  };
  explicit Sink(SinkConfig config) : config_(std::move(config)) {}
  void Run();
  void Watch();
  Status Write(const Entry& entry);
  Status WriteLine(std::string line, std::chrono::steady_clock::time_point until);
  Status Reopen();
  void SetState(const Status& state);

  const SinkConfig config_;
  FileDescriptor file_;                         // of the writing thread
  bool torn_ = false;                           // of the writing thread: the file ends within a line
  mutable std::mutex mutex_;                    // guards all that follows
  std::condition_variable wake_;                // the writing thread
  std::condition_variable watch_;               // the other
  std::deque<std::shared_ptr<Entry>> queue_;    // to be written
  std::deque<std::shared_ptr<Entry>> waiting_;  // with a `done`, the oldest first
  SinkStatus status_;
  bool stop_ = false;
  std::thread writer_, watcher_;
};

}  // namespace hallmark::ledger
