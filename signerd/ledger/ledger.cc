#include "signerd/ledger/ledger.h"

#include <future>

#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"
#include "signerd/ledger/checkpoint_file.h"
#include "signerd/ledger/segment.h"

namespace hallmark::ledger {
namespace {

// Records of one write; a batch that is longer is made durable in several.
constexpr std::size_t kMostRecords = 4096;
// Who waits for some of the records of one write.
struct Answer {
  Ledger::Done done;
  std::size_t records;
  bool await_sink;
};

// How often a ledger that can't be written is tried again while nobody asks.
constexpr std::chrono::milliseconds kRetry{500};

constexpr char kSinkIsDown[] = "the ledger's second sink takes no records, and is required";

}  // namespace

Result<std::unique_ptr<Ledger>> Ledger::Open(const LedgerConfig& config, const Clock& clock) {
  const std::filesystem::path file = config.directory / "checkpoints";
  const auto kept = NewestCheckpoint(file);
  if (!kept) return kept.error();
  const TreeHead& newest = kept->head;
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(clock.Precise().time_since_epoch()).count();
  auto tail = Tail::Open({config.directory, config.segment_octets, config.open}, newest, now);
  if (!tail) return tail.error();
  std::unique_ptr<Ledger> ledger(new Ledger(config, clock, std::move(*tail)));
  auto checkpoints = config.open(file);
  if (!checkpoints) return checkpoints.error();
  ledger->checkpoints_ = std::move(*checkpoints);
  ledger->checkpoints_length_ = kept->end;
  Status durable = ledger->checkpoints_->Truncate(kept->end);
  if (durable) durable = ledger->checkpoints_->Sync();  // the daemon before may have ended between write and sync
  if (!durable) return durable.error();
  if (!kept->note.empty()) ledger->checkpoint_ = kept->note;
  ledger->checkpointed_ = newest.size;
  if (config.sink) {
    auto sink = Sink::Start(*config.sink);
    if (!sink) return sink.error();
    ledger->sink_ = std::move(*sink);
  }
  ledger->writer_ = std::thread([raw = ledger.get()] { raw->Write(); });
  return ledger;
}

Ledger::Ledger(LedgerConfig config, const Clock& clock, Tail tail)
    : config_(std::move(config)), clock_(clock), tail_(std::move(tail)), durable_(tail_.head()) {}

Ledger::~Ledger() { Stop(); }

std::int64_t Ledger::now_us() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(clock_.Precise().time_since_epoch()).count();
}

void Ledger::Start(CheckpointSigner& signer) {
  signer_ = std::thread([this, &signer] { SignCheckpoints(signer); });
}

void Ledger::StopCheckpoints() {
  {
    const std::lock_guard lock(mutex_);
    last_checkpoint_ = true;
  }
  wake_signer_.notify_all();
  if (signer_.joinable()) signer_.join();
}

void Ledger::Stop() {
  StopCheckpoints();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_writer_.notify_all();
  if (writer_.joinable()) writer_.join();
}

std::size_t Ledger::OctetsOf(const std::vector<std::string>& records) {
  std::size_t octets = 0;
  for (const std::string& record : records) octets += kFrameOctets + record.size();
  return octets;
}

Status Ledger::CheckSize(const std::vector<std::string>& records) {
  for (const std::string& record : records) {
    if (!record.empty() && record.size() <= kMaxRecordOctets) continue;
    return MakeError(Reason::kMessageTooLarge, "what the ledger would keep of it has " + std::to_string(record.size()) +
                                                   " octets; a record has 1 to " + std::to_string(kMaxRecordOctets));
  }
  const std::size_t octets = OctetsOf(records);
  if (octets <= kMostOctets) return Ok();
  return MakeError(Reason::kMessageTooLarge, "what the ledger would keep of it has " + std::to_string(octets) +
                                                 " octets; at most " + std::to_string(kMostOctets) +
                                                 " are written at once");
}

void Ledger::Append(std::vector<std::string> records, Done done, bool await_sink) {
  if (const Status possible = CheckSize(records); !possible) {
    done(possible.error());
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      waiting_.push_back({std::move(records), std::move(done), await_sink});
      if (waiting_.size() == 1) wake_writer_.notify_one();
      return;
    }
  }
  done(MakeError(Reason::kLedgerUnavailable, "the ledger is closed"));
}

Status Ledger::AppendAndWait(hallmark::ledger::v1::Record record, bool await_sink) {
  if (record.time_us() == 0) record.set_time_us(now_us());
  std::promise<Status> promise;
  auto answer = promise.get_future();
  const auto done = [&](const Result<std::uint64_t>& sequence) {
    promise.set_value(sequence ? Ok() : Status(sequence.error()));
  };
  Append({record.SerializeAsString()}, done, await_sink);
  return answer.get();
}

TreeHead Ledger::durable() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

std::optional<std::string> Ledger::latest_checkpoint() const {
  const std::lock_guard lock(mutex_);
  return checkpoint_;
}

std::optional<VerifierKey> Ledger::verifier_key() const {
  const std::lock_guard lock(mutex_);
  return key_;
}

std::optional<SinkStatus> Ledger::sink() const {
  return sink_ == nullptr ? std::nullopt : std::optional(sink_->status());
}

bool Ledger::SinkIsDown() const {
  if (sink_ == nullptr) return false;
  const SinkStatus status = sink_->status();
  return status.required && !status.available;
}

std::string Ledger::trouble() const {
  if (!available_) return "the ledger cannot be written, so nothing is signed: look for room on its disk";
  if (!SinkIsDown()) return "";
  return std::string(kSinkIsDown) + ", so nothing is signed: see the log, and ledger.sink in hallmark.toml";
}

void Ledger::Write() {
  while (true) {
    std::vector<Waiting> batch;
    {
      std::unique_lock lock(mutex_);
      const auto ready = [this] { return stopping_ || !waiting_.empty(); };
      if (available_) {
        wake_writer_.wait(lock, ready);
      } else {
        wake_writer_.wait_for(lock, kRetry, ready);
      }
      if (waiting_.empty() && stopping_) return;
      batch.swap(waiting_);
    }
    if (batch.empty()) {
      Tell(tail_.Mend(now_us()));
    } else if (SinkIsDown()) {
      for (const Waiting& one : batch) one.done(MakeError(Reason::kLedgerUnavailable, kSinkIsDown));
    } else {
      WriteBatch(std::move(batch));
    }
  }
}

void Ledger::WriteBatch(std::vector<Waiting> batch) {
  std::size_t next = 0;
  while (next < batch.size()) {
    const std::size_t begin = next;
    std::vector<std::string> records;
    std::size_t octets = 0;
    while (next < batch.size() && records.size() < kMostRecords) {
      octets += OctetsOf(batch[next].records);
      if (octets > kMostOctets && next != begin) break;  // one alone fits: Append() saw to it
      for (std::string& record : batch[next].records) records.push_back(std::move(record));
      ++next;
    }
    const std::uint64_t sequence = tail_.size();
    const Status done = tail_.Append(records, now_us());
    Tell(done);
    if (done) {
      const std::lock_guard lock(mutex_);
      durable_ = tail_.head();
    }
    std::vector<Answer> answers;
    for (std::size_t i = begin; i < next; ++i) {
      answers.push_back({std::move(batch[i].done), batch[i].records.size(), batch[i].await_sink});
    }
    const auto answer = [answers = std::move(answers)](Result<std::uint64_t> first, bool await_sink) {
      for (const Answer& one : answers) {
        if (one.await_sink == await_sink) one.done(first);
        if (first) *first += one.records;
      }
    };
    const Result<std::uint64_t> outcome = done ? Result<std::uint64_t>(sequence) : Result<std::uint64_t>(done.error());
    answer(outcome, false);
    if (done && sink_ != nullptr) {
      sink_->Send(std::move(records), sequence,
                  [answer](Result<std::uint64_t> first) { answer(std::move(first), true); });
    } else {
      answer(outcome, true);
    }
  }
}

// One line a change.
void Ledger::Tell(const Status& status) {
  const bool available = status.has_value();
  if (available_.exchange(available) == available) return;
  if (available) {
    log::info("ledger: can be written again");
  } else {
    log::error("ledger: {}; nothing is signed until it can be written again", status.error().message);
  }
}

Result<std::string> KeptOrigin(const std::filesystem::path& ledger_directory, const std::array<std::uint8_t, 32>& key,
                               const std::string& configured) {
  const auto text = ReadFile(ledger_directory / kVerifierKeyFile);
  if (!text && text.error().reason != Reason::kNotFound) return text.error();
  if (!text || text->empty()) return configured;
  const auto keys = ParseVerifierKeys(*text);
  if (!keys) {
    return MakeError(keys.error().reason, (ledger_directory / kVerifierKeyFile).string() + ": " + keys.error().message);
  }
  return keys->back().key == key ? keys->back().name : configured;
}

void Ledger::SignCheckpoints(CheckpointSigner& signer) {
  bool last = false;
  while (!last) {
    TreeHead head;
    {
      std::unique_lock lock(mutex_);
      wake_signer_.wait_for(lock, config_.checkpoint_interval, [this] { return last_checkpoint_; });
      last = last_checkpoint_;
      if (durable_.size == checkpointed_ && key_) continue;
      head = durable_;
    }
    const Status done = SignCheckpoint(signer, head);
    if (done && told_) log::info("ledger: checkpoints are signed again");
    if (!done && !told_) log::warn("ledger: no checkpoint could be signed: {}", done.error().message);
    told_ = !done;
  }
}

Status Ledger::SignCheckpoint(CheckpointSigner& signer, const TreeHead& head) {
  const auto public_key = signer.PublicKey();
  if (!public_key) return public_key.error();
  const auto origin = KeptOrigin(config_.directory, *public_key, config_.origin);
  if (!origin) return origin.error();
  const VerifierKey key{*origin, *public_key};
  if (verifier_key() != key) {
    auto keys = signer.PastKeys();
    if (!keys) return keys.error();
    keys->push_back(key);
    // For whoever verifies a copy of the folder.
    const Status kept = WriteFileAtomically(config_.directory / kVerifierKeyFile, TextOf(*keys));
    if (!kept) return kept;
    if (*origin != config_.origin) {
      log::warn("ledger: its checkpoints stay those of {}, as they were when its key was made, and not of {}", *origin,
                config_.origin);
    }
  }
  {
    const std::lock_guard lock(mutex_);
    key_ = key;
    if (head.size == checkpointed_) return Ok();
  }
  const std::string body = CheckpointBody(key.name, head);
  const auto signature = signer.Sign(body);
  if (!signature) return signature.error();
  // A faulty token or a stale handle must not be taken for a proof.
  if (!key.Verify(body, *signature)) {
    return MakeError(Reason::kSignatureInvalid, "the token made a signature that does not verify");
  }
  const std::string note = SignedNote(body, key, *signature);
  const Status kept = KeepCheckpoint(note);
  if (!kept) return kept;
  const std::lock_guard lock(mutex_);
  checkpoint_ = note;
  checkpointed_ = head.size;
  return Ok();
}

Status Ledger::KeepCheckpoint(const std::string& note) {
  const std::string octets = note + "\n";
  Status done = checkpoints_->WriteAt(checkpoints_length_, octets);
  if (done) done = checkpoints_->Sync();
  if (done) {
    checkpoints_length_ += octets.size();
  } else {
    static_cast<void>(checkpoints_->Truncate(checkpoints_length_));  // else the next one is written over it
  }
  return done;
}

}  // namespace hallmark::ledger
