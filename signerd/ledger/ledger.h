#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/ledger/checkpoint.h"
#include "signerd/ledger/sink.h"
#include "signerd/ledger/tail.h"
#include "signerd/ledger/torn.h"

namespace hallmark::ledger {

// Signs checkpoints with a key in a token; main.cc supplies it. Calls wait for the token; from the ledger's checkpoint
// thread only.
class CheckpointSigner {
 public:
  virtual ~CheckpointSigner() = default;
  // The key's public part, raw. The key is made when there is none yet. kTokenDown and the like while it can't be had.
  virtual Result<std::array<std::uint8_t, 32>> PublicKey() = 0;
  // Those that signed before it.
  virtual Result<VerifierKeys> PastKeys() { return VerifierKeys(); }
  // Ed25519 over `text` as it is.
  virtual Result<Bytes> Sign(const std::string& text) = 0;
};

struct LedgerConfig {
  std::filesystem::path directory;
  std::uint64_t segment_octets = 64u << 20;
  std::chrono::seconds checkpoint_interval{10};
  // Of the checkpoints, and the name of their key, where that signs its first one: a log's name does not change, or who
  // has the verifier key would be told that the log is another one.
  std::string origin;
  OpenLedgerFile open = &OpenOnDisk;
  std::optional<SinkConfig> sink;  // a second place for every record
};

// In the ledger's folder: the verifier keys, a line each, for whoever verifies a copy.
constexpr char kVerifierKeyFile[] = "verifier-key";

// The origin that `key` signs for: what the folder says where that key is its newest; else `configured`. kIoFailed,
// kInvalidArgument: the folder's word can't be read. Any thread.
Result<std::string> KeptOrigin(const std::filesystem::path& ledger_directory, const std::array<std::uint8_t, 32>& key,
                               const std::string& configured);

// What was signed, for whom and when, and what operators did: records in an append-only log, durable before anyone is
// answered, under a Merkle tree whose head is signed in the token.
//
// One thread writes. It takes what has queued, never waiting for more, and makes it durable with one write and one
// sync. A second one signs the tree's head whenever it has grown, once an interval, and at the end.
class Ledger {
 public:
  // Reads the end of what is there; begins a ledger in an empty folder. kIoFailed; kInvalidArgument when it is damaged.
  static Result<std::unique_ptr<Ledger>> Open(const LedgerConfig& config, const Clock& clock);
  ~Ledger();

  // Begins to sign checkpoints. `signer` must live until Stop().
  void Start(CheckpointSigner& signer);
  // Signs a last checkpoint, as well as the token allows. Before the tokens are stopped. Safe to repeat.
  void StopCheckpoints();
  // Writes what has been appended, and ends. Later Appends fail. Safe to repeat.
  void Stop();

  // Any thread; does not wait. `done` is called once, on a thread of the ledger's, and must not block: with the
  // sequence number of the first record when all are durable; with kLedgerUnavailable when none of them is part of the
  // ledger, or a required sink has not taken them in time; with kMessageTooLarge, on the caller's thread, when
  // CheckSize() says so: a reader would take them for damage. Without `await_sink` `done` is called as soon as they are
  // durable: a required sink gets them too, but nobody waits for that.
  using Done = std::function<void(Result<std::uint64_t>)>;
  void Append(std::vector<std::string> records, Done done, bool await_sink = true);
  // What one Append() takes at most, frames included: all of it is one write, of which a crash may leave any part.
  static constexpr std::size_t kMostOctets = kMostWritten;
  static std::size_t OctetsOf(const std::vector<std::string>& records);
  // kMessageTooLarge: a record has no octets or more than kMaxRecordOctets, or all have more than kMostOctets. Any
  // thread.
  static Status CheckSize(const std::vector<std::string>& records);
  // Waits for it. Not on the writer's thread. Its time is set where it has none.
  Status AppendAndWait(hallmark::ledger::v1::Record record, bool await_sink = true);

  // What is durable now. Any thread.
  TreeHead durable() const;
  // The newest one, and who signed it. Any thread.
  std::optional<std::string> latest_checkpoint() const;
  std::optional<VerifierKey> verifier_key() const;
  // Of the second place; nothing where there is none. Any thread.
  std::optional<SinkStatus> sink() const;
  // Why nothing can be put on it now: it can't be written, or a required sink takes nothing. Empty where it can. Any
  // thread, without waiting.
  std::string trouble() const;
  bool available() const { return trouble().empty(); }
  const std::filesystem::path& directory() const { return config_.directory; }
  // Who lists the segments and then reads them for long holds this; retention deletes none meanwhile, and tries again.
  // Any thread; waits only for a deletion that is under way.
  std::shared_lock<std::shared_mutex> KeepSegments() const { return std::shared_lock(segments_); }
  // For who deletes segments. Not held where somebody reads them.
  std::unique_lock<std::shared_mutex> TryDeleteSegments() const { return {segments_, std::try_to_lock}; }
  std::chrono::seconds checkpoint_interval() const { return config_.checkpoint_interval; }
  std::int64_t now_us() const;

 private:
  struct Waiting {
    std::vector<std::string> records;
    Done done;
    bool await_sink;
  };
  Ledger(LedgerConfig config, const Clock& clock, Tail tail);
  void Write();
  void WriteBatch(std::vector<Waiting> batch);
  // Whether a required sink takes nothing. Then nothing is written: nobody could be answered.
  bool SinkIsDown() const;
  void Tell(const Status& status);
  void SignCheckpoints(CheckpointSigner& signer);
  Status SignCheckpoint(CheckpointSigner& signer, const TreeHead& head);
  Status KeepCheckpoint(const std::string& note);

  const LedgerConfig config_;
  const Clock& clock_;
  Tail tail_;  // of the writer's thread
  std::atomic<bool> available_{true};
  mutable std::shared_mutex segments_;  // guards which segments there are on disk, but for new ones

  mutable std::mutex mutex_;  // guards what follows, up to the threads
  std::condition_variable wake_writer_, wake_signer_;
  std::vector<Waiting> waiting_;
  bool stopping_ = false, last_checkpoint_ = false;
  TreeHead durable_;
  std::uint64_t checkpointed_ = 0;  // size of the newest checkpoint
  std::optional<std::string> checkpoint_;
  std::optional<VerifierKey> key_;

  // Of the checkpoint thread.
  std::unique_ptr<LedgerFile> checkpoints_;
  std::uint64_t checkpoints_length_ = 0;
  bool told_ = false;  // that checkpoints can't be signed

  std::unique_ptr<Sink> sink_;  // null: none is wanted
  std::thread writer_, signer_;
};

}  // namespace hallmark::ledger
