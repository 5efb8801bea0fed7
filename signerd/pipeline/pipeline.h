#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/dkim/body_batch.h"
#include "signerd/dkim/signature.h"
#include "signerd/dkim/warnings.h"
#include "signerd/ledger/ledger.h"
#include "signerd/ledger/recipients.h"
#include "signerd/pipeline/deduplication.h"
#include "signerd/pipeline/intake.h"
#include "signerd/pipeline/message_hasher.h"
#include "signerd/pipeline/observer.h"
#include "signerd/pipeline/prepare_load.h"
#include "signerd/pipeline/signed_message.h"
#include "signerd/pipeline/stage.h"
#include "signerd/pipeline/wrong_signatures.h"
#include "signerd/tokens/token_set.h"

namespace hallmark::pipeline {

struct PipelineConfig {
  std::size_t threads = 0;       // 0: as many as the machine has
  std::size_t in_flight = 2048;  // messages taken in and not answered yet; more are refused
  dkim::Limits limits;
  DeduplicationConfig deduplication;
  Observer* observer = nullptr;  // told of every answer; lives longer. Null: nobody watches
};

// The octets of one record of the ledger; any thread, may read from the disk.
using ReadRecord = std::function<Result<std::string>(std::uint64_t sequence)>;

// One message to be signed.
struct Job {
  Origin origin;
  // The whole message, owned by whoever waits for `done`; or one that is hashed already.
  std::variant<std::string_view, HashedMessage> message;
  tokens::Deadline deadline;
  // Set by the caller when nobody waits any more; the job is then dropped at its next step. `done` is still called.
  std::shared_ptr<const std::atomic<bool>> cancelled;
  // Called once, on a thread of the pool or of the tokens; must not block.
  std::function<void(Result<SignedMessage>)> done;
};

struct Counters {
  // Each answer is one of the first three; `repeated`: as another of its request_id was answered, and signed once.
  std::int64_t signed_messages = 0, repeated_messages = 0, refused_messages = 0, in_flight = 0, waiting = 0;
  std::uint64_t forgotten_answers = 0;  // of a request_id, before their time
};

// The way of a message from the intake to the answer: parse, choose the domain, hash, sign in the token, verify,
// assemble.
//
// Only the intake refuses for want of room: a job holds one credit until it is answered, so nothing is refused after it
// was signed for want of room. All signatures of a message are made or none is given, but where a domain has keys in
// several tokens and one is down; and none is given before it is on the ledger. A request that comes again under its
// request_id gets the answer of the first, and is counted once; unless that answer is not what it would get now: of
// keys that sign no more, of another canonicalization, with other line ends. Then it is signed and counted again.
class Pipeline {
 public:
  Pipeline(const PipelineConfig& config, tokens::TokenSet& tokens, const Clock& clock,
           const snapshot::Current& snapshot, admission::Quotas& quotas, ledger::Ledger& ledger,
           const ledger::Recipients& recipients, ReadRecord read_record);
  // The tokens must be stopped first, so that nothing is in flight.
  ~Pipeline();

  // Learns from the ledger what was answered before a restart. Once, before the first Submit.
  Status Recall();

  // Any thread. Always answers through job.done; kOverloaded at once when the relay gets no credit, or
  // its turn would come after the deadline.
  void Submit(Job job);

  // Tells the observer of a message that was refused before it came here. `origin` may be null: unknown. Any thread.
  void NoteRefusal(const Origin* origin, Reason reason);

  Counters counters() const;
  // For messages that are decided upon before they come here.
  const Reception& reception() const { return reception_; }

 private:
  struct Work;
  using WorkPointer = std::shared_ptr<Work>;

  void Prepare(std::vector<WorkPointer> batch);
  Status Parse(Work& work, dkim::BodyBatch& bodies);
  void GoOn(const std::vector<WorkPointer>& hashed);
  bool IsFirst(const WorkPointer& work);
  Status ChargeLate(Work& work);
  Result<SignedMessage> ReadAnswer(const Work& work, std::uint64_t first, std::uint32_t count) const;
  bool AnswerAgain(Work& work, std::uint64_t first, std::uint32_t count);
  void AnswerWaiters(Work& work, const Result<SignedMessage>& result);
  Status LayOut(Work& work);
  std::unique_ptr<dkim::BodyBatch> TakeBodies();
  void GiveBack(std::unique_ptr<dkim::BodyBatch> bodies);
  void SignAgain(const WorkPointer& work);
  void CollectSignings(const WorkPointer& work, std::vector<tokens::Signing>& signings);
  void PushFinish(const WorkPointer& work);
  void Finish(std::vector<WorkPointer> batch);
  struct Recorded;
  static std::uint64_t OctetsOf(const Work& work);  // of the whole message; 0 where it is not known
  std::vector<std::string> RecordsOf(const Work& work, const SignedMessage& made) const;
  void Record(std::vector<Recorded> batch, std::vector<std::string> records);
  void AnswerRecorded(std::vector<Recorded> batch, const Result<std::uint64_t>& sequence);
  static Status StillAllowed(const Work& work, const snapshot::Snapshot& now);
  static Status CheckEnough(const Work& work);
  Result<SignedMessage> FinishOne(Work& work, const snapshot::Snapshot& now);
  void Answer(Work& work, Result<SignedMessage> result);
  void Observe(const Work& work, std::optional<Reason> refusal) const;

  Intake intake_;
  const DeduplicationConfig deduplication_config_;
  Deduplication<WorkPointer> deduplication_;
  const Reception reception_;
  tokens::TokenSet& tokens_;
  ledger::Ledger& ledger_;
  const ledger::Recipients& recipients_;
  const ReadRecord read_record_;
  Observer* const observer_;
  std::atomic<std::int64_t> signed_{0}, repeated_{0}, refused_{0};
  WrongSignatures wrong_signatures_;
  std::mutex bodies_mutex_;                               // guards bodies_
  std::vector<std::unique_ptr<dkim::BodyBatch>> bodies_;  // those that no thread is using
  PrepareLoad load_;
  boost::asio::thread_pool pool_;
  Stage<WorkPointer, tokens::FairQueue<WorkPointer>> prepare_;
  Stage<WorkPointer> finish_;
};

}  // namespace hallmark::pipeline
