#include "signerd/pipeline/pipeline.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <iterator>
#include <thread>
#include <utility>

#include "firmware/runtime/log.h"
#include "signerd/pipeline/recall.h"
#include "signerd/pipeline/records.h"

namespace hallmark::pipeline {
namespace {

// What a thread of gRPC's may spend on one message before others wait for it: a message of some 60,000 octets.
constexpr double kMostCostHere = 4;
// So few messages in flight leave the thread of the tokens idle most of the time.
constexpr std::size_t kFewInFlight = 2;

std::size_t ThreadCount(std::size_t configured) {
  return configured != 0 ? configured : std::max<std::size_t>(2, std::thread::hardware_concurrency());
}

// RFC 5322 wants CRLF; a message that came with bare LF gets its new fields in kind, or its MTA would see the end of
// the header between them.
std::string WithLineEndsOf(const dkim::Header& header, std::string field) {
  if (header.crlf()) return field;
  std::erase(field, '\r');
  return field;
}

}  // namespace

// A job on its way. Its stages touch it one after the other; only `remaining` and a slot each are touched in between.
struct Pipeline::Work {
  struct Slot {
    std::shared_ptr<const snapshot::Key> key;
    dkim::PreparedSignature prepared;
    Result<tokens::Made> made = tokens::Made{};
  };
  explicit Work(Job taken)
      : job(std::move(taken)),
        partner(admission::FindPartner(*job.origin.snapshot, *job.origin.relay, job.origin.requested_partner)) {}
  // Partners share what there is, and the relays of a partner what it gets. Only where there is a partner.
  tokens::Flow flow() const { return {(*partner)->name, (*partner)->weight, job.origin.relay->name}; }
  // To prepare it: about the same for a message and for some 20,000 octets of it.
  double cost() const {
    const auto* whole = std::get_if<std::string_view>(&job.message);
    return 1 + (whole == nullptr ? 0 : static_cast<double>(whole->size()) / 20'000);
  }
  Job job;
  Result<const snapshot::Partner*> partner;
  Intake::Place* place = nullptr;       // where it holds a credit
  std::optional<ParsedMessage> parsed;  // until its body is hashed
  std::optional<HashedMessage> hashed;
  std::optional<Fingerprint> fingerprint;              // where there is a request_id
  std::optional<Deduplication<WorkPointer>::Name> id;  // while it is the first of its request_id
  std::uint64_t first_record = 0;                      // once it is on the ledger
  std::vector<Slot> slots;
  Stamps stamps;
  std::atomic<std::size_t> remaining{0};
  const Slot* wrong = nullptr;  // whose signature did not verify
  bool signed_again = false;
};

Pipeline::Pipeline(const PipelineConfig& config, tokens::TokenSet& tokens, const Clock& clock,
                   const snapshot::Current& snapshot, admission::Quotas& quotas, ledger::Ledger& ledger,
                   const ledger::Recipients& recipients, ReadRecord read_record)
    : intake_(config.in_flight),
      deduplication_config_(config.deduplication),
      deduplication_(config.deduplication),
      reception_{snapshot, quotas, clock, config.limits,
                 [this](const Origin& origin) {
                   const std::string& id = origin.envelope.request_id;
                   return !id.empty() && deduplication_.Knows(deduplication_.NameOf(origin.relay->name, id));
                 }},
      tokens_(tokens),
      ledger_(ledger),
      recipients_(recipients),
      read_record_(std::move(read_record)),
      observer_(config.observer),
      pool_(ThreadCount(config.threads)),
      prepare_(pool_, ThreadCount(config.threads),
               [this](std::vector<WorkPointer> batch) { Prepare(std::move(batch)); }),
      finish_(pool_, ThreadCount(config.threads),
              [this](std::vector<WorkPointer> batch) { Finish(std::move(batch)); }) {}

Pipeline::~Pipeline() { pool_.join(); }

Status Pipeline::Recall() {
  // As many records as there could be answers with two signatures each.
  return RecallAnswers(ledger_, reception_.clock.Now() - deduplication_config_.window,
                       2 * deduplication_config_.entries, [this](const PastAnswer& past) {
                         deduplication_.Recall(deduplication_.NameOf(past.relay, past.request_id), past.fingerprint,
                                               past.first, past.count, past.when);
                       });
}

void Pipeline::Submit(Job job) {
  const auto work = std::make_shared<Work>(std::move(job));
  work->stamps.taken = std::chrono::steady_clock::now();
  if (!work->partner) {
    Answer(*work, work->partner.error());
    return;
  }
  const tokens::Flow flow = work->flow();
  work->place = intake_.Enter(flow.name, flow.relay);
  if (work->place == nullptr) {
    Answer(*work, MakeError(Reason::kOverloaded,
                            "this relay, or its partner, has too many messages in flight: try again shortly"));
    return;
  }
  const auto wait = load_.TimeFor(prepare_.Ahead(flow));
  if (wait.count() > 0 && wait > work->job.deadline - work->stamps.taken) {
    Answer(*work, MakeError(Reason::kOverloaded, "too much is waiting to be hashed within the deadline"));
    return;
  }
  const double cost = work->cost();
  if (cost <= kMostCostHere) {
    prepare_.PushOrRun(flow, cost, work);
  } else {
    prepare_.Push(flow, cost, work);
  }
}

void Pipeline::Prepare(std::vector<WorkPointer> batch) {
  const auto preparing = std::chrono::steady_clock::now();
  double cost = 0;
  for (const WorkPointer& work : batch) {
    work->stamps.preparing = preparing;
    cost += work->cost();
  }
  load_.Begin(cost);
  if (observer_ != nullptr) observer_->OnBatch(batch.size());
  std::unique_ptr<dkim::BodyBatch> bodies = TakeBodies();
  std::vector<WorkPointer> with_body;  // in the order of `bodies`
  std::vector<WorkPointer> hashed;
  for (WorkPointer& work : batch) {
    const Status parsed = Parse(*work, *bodies);
    if (!parsed) {
      Answer(*work, parsed.error());
    } else if (work->parsed) {
      with_body.push_back(std::move(work));
    } else {
      hashed.push_back(std::move(work));
    }
  }
  auto body = bodies->Hash();
  for (std::size_t i = 0; i < with_body.size(); ++i) {
    Work& work = *with_body[i];
    auto message = WithBody(std::move(*work.parsed), body[i]);
    if (message) {
      work.hashed.emplace(std::move(*message));
      hashed.push_back(std::move(with_body[i]));
    } else {
      Answer(work, message.error());
    }
  }
  GiveBack(std::move(bodies));
  load_.End(cost, prepare_.waiting() != 0, std::chrono::steady_clock::now());
  GoOn(hashed);
}

// From the hashed message to the token.
void Pipeline::GoOn(const std::vector<WorkPointer>& hashed) {
  std::vector<tokens::Signing> signings;
  const auto sent = std::chrono::steady_clock::now();  // laying out is counted as the token's: it is short
  for (const WorkPointer& work : hashed) {
    work->stamps.sent = sent;
    if (!IsFirst(work)) continue;
    const Status laid_out = LayOut(*work);
    if (laid_out) {
      CollectSignings(work, signings);
    } else {
      Answer(*work, laid_out.error());
    }
  }
  if (!signings.empty()) tokens_.Sign(std::move(signings));
}

// Whether it is to be signed: false when another request of its request_id answers it, or has.
bool Pipeline::IsFirst(const WorkPointer& work) {
  const Origin& origin = work->job.origin;
  if (origin.envelope.request_id.empty()) return true;
  using Requests = Deduplication<WorkPointer>;
  const auto name = Requests::NameOf(origin.relay->name, origin.envelope.request_id);
  if (!work->fingerprint) work->fingerprint = FingerprintOf(origin, *work->hashed);
  const auto found = deduplication_.Begin(name, *work->fingerprint, reception_.clock.Now(), work);
  if (found.outcome == Requests::Outcome::kWaits) return false;  // and may be answered by now
  if (found.outcome == Requests::Outcome::kAnswered) {
    AnswerAgain(*work, found.first, found.count);
    return false;
  }
  if (found.outcome == Requests::Outcome::kFirst) work->id = name;
  Status may = ChargeLate(*work);
  if (may && found.outcome == Requests::Outcome::kReused) {
    may = MakeError(Reason::kRequestIdReused, "request_id: it was used for another message within the last minutes");
  }
  if (may) return true;
  work->hashed->admitted.charge = {};
  Answer(*work, may.error());
  return false;
}

// Counts what was taken for a repetition and is none.
Status Pipeline::ChargeLate(Work& work) {
  Admitted& admitted = work.hashed->admitted;
  if (admitted.counted) return Ok();
  auto charge =
      reception_.quotas.Take(*admitted.partner, work.job.origin.envelope.recipients.size(), reception_.clock.Precise());
  if (!charge) return charge.error();
  admitted.charge = std::move(*charge);
  admitted.counted = true;
  return Ok();
}

void Pipeline::AnswerAgain(Work& work, std::uint64_t first, std::uint32_t count) {
  work.hashed->admitted.charge = {};  // given back: its first answer was counted
  std::vector<std::string> records;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto record = read_record_(first + i);
    if (record) records.push_back(std::move(*record));
  }
  auto answer = AnswerFrom(records);
  if (!answer || records.size() != count) {
    log::error("ledger: the answer in record {} cannot be read back", first);
    Answer(work, MakeError(Reason::kLedgerUnavailable, "the answer cannot be read back from the ledger"));
    return;
  }
  answer->warnings =
      dkim::FindWarnings(work.hashed->header, work.hashed->body_facts ? &*work.hashed->body_facts : nullptr,
                         *work.hashed->admitted.domain->profile);
  Answer(work, std::move(answer));
}

// Those that came again meanwhile: they get the same, or where it failed try themselves.
void Pipeline::AnswerWaiters(Work& work, const Result<SignedMessage>& result) {
  const auto name = *std::exchange(work.id, std::nullopt);
  if (result) {
    const auto count = static_cast<std::uint32_t>(result->signatures.size());
    for (const WorkPointer& waiter : deduplication_.Finish(name, work.first_record, count, reception_.clock.Now())) {
      waiter->hashed->admitted.charge = {};
      Answer(*waiter, *result);
    }
    return;
  }
  const std::vector<WorkPointer> waiters = deduplication_.Forget(name);
  if (!waiters.empty()) boost::asio::post(pool_, [this, waiters] { GoOn(waiters); });
}

std::unique_ptr<dkim::BodyBatch> Pipeline::TakeBodies() {
  const std::lock_guard lock(bodies_mutex_);
  if (bodies_.empty()) return std::make_unique<dkim::BodyBatch>();
  auto taken = std::move(bodies_.back());
  bodies_.pop_back();
  return taken;
}

void Pipeline::GiveBack(std::unique_ptr<dkim::BodyBatch> bodies) {
  const std::lock_guard lock(bodies_mutex_);
  bodies_.push_back(std::move(bodies));
}

// Sets work.parsed, with its body in `bodies`, or work.hashed where the body is hashed already.
Status Pipeline::Parse(Work& work, dkim::BodyBatch& bodies) {
  if (work.job.cancelled != nullptr && work.job.cancelled->load()) {
    return MakeError(Reason::kCancelled, "the relay cancelled the call");
  }
  if (work.job.deadline <= std::chrono::steady_clock::now()) {
    return MakeError(Reason::kDeadlineExceeded, "the deadline passed before the message was hashed");
  }
  if (auto* hashed = std::get_if<HashedMessage>(&work.job.message)) {
    work.hashed.emplace(std::move(*hashed));
    return Ok();
  }
  auto parsed = ParseMessage(work.job.origin, reception_, std::get<std::string_view>(work.job.message));
  if (!parsed) return parsed.error();
  bodies.Add(parsed->admitted.domain->profile->body, parsed->body);
  work.parsed.emplace(std::move(*parsed));
  return Ok();
}

// One DKIM-Signature field for each active key.
Status Pipeline::LayOut(Work& work) {
  const HashedMessage& message = *work.hashed;
  const auto fields = dkim::CanonicalizeFields(message.header, *message.admitted.domain->profile);
  if (!fields) return fields.error();
  for (const auto& key : message.admitted.domain->active_keys) {
    auto prepared = dkim::PrepareSignature({.fields = *fields,
                                            .profile = *message.admitted.domain->profile,
                                            .domain = message.admitted.domain->name,
                                            .selector = key->selector,
                                            .algorithm = key->public_key->algorithm(),
                                            .body_canonicalization = message.body_canonicalization,
                                            .body_hash = message.body_hash,
                                            .time = reception_.clock.Now()});
    if (!prepared) return prepared.error();
    work.slots.push_back({key, std::move(*prepared)});
  }
  return Ok();
}

void Pipeline::CollectSignings(const WorkPointer& work, std::vector<tokens::Signing>& signings) {
  work->remaining = work->slots.size();
  for (Work::Slot& slot : work->slots) {
    signings.push_back({slot.key, slot.prepared.digest, &slot.prepared.signed_data, work->job.deadline, work->flow(),
                        work->job.cancelled.get(), [this, work, &slot](Result<tokens::Made> made) {
                          slot.made = std::move(made);
                          if (work->remaining.fetch_sub(1) == 1) PushFinish(work);
                        }});
  }
}

// This is the one thread that hears from all tokens: it finishes a message itself only while it has little else to do.
void Pipeline::PushFinish(const WorkPointer& work) {
  if (intake_.in_flight() <= kFewInFlight) {
    finish_.PushOrRun(work);
  } else {
    finish_.Push(work);
  }
}

// A message that was signed, on its way to the ledger.
struct Pipeline::Recorded {
  WorkPointer work;
  SignedMessage message;
};

void Pipeline::Finish(std::vector<WorkPointer> batch) {
  const auto finishing = std::chrono::steady_clock::now();
  for (const WorkPointer& work : batch) work->stamps.finishing = finishing;
  const auto now = reception_.snapshot.Get();
  std::vector<Recorded> recorded;
  std::vector<std::string> records;
  std::size_t octets = 0;  // of them
  for (const WorkPointer& work : batch) {
    auto message = FinishOne(*work, *now);
    if (message) {
      wrong_signatures_.Settle(finishing);
    } else if (work->wrong != nullptr) {
      const snapshot::Key& key = *work->wrong->key;
      wrong_signatures_.Count(work->wrong->made->token, key.selector + "._domainkey." + key.domain, work->signed_again,
                              finishing);
    }
    if (work->wrong != nullptr && !work->signed_again) {
      SignAgain(work);
      continue;
    }
    if (!message) {
      Answer(*work, message.error());
      continue;
    }
    auto more = RecordsOf(*work, *message);
    if (const Status fits = ledger::Ledger::CheckSize(more); !fits) {
      Answer(*work, fits.error());
      continue;
    }
    // Each fits, but of very many recipients in clear not all at once.
    octets += ledger::Ledger::OctetsOf(more);
    if (octets > ledger::Ledger::kMostOctets) {
      Record(std::exchange(recorded, {}), std::exchange(records, {}));
      octets = ledger::Ledger::OctetsOf(more);
    }
    std::move(more.begin(), more.end(), std::back_inserter(records));
    recorded.push_back({work, std::move(*message)});
  }
  if (!records.empty()) Record(std::move(recorded), std::move(records));
}

void Pipeline::Record(std::vector<Recorded> batch, std::vector<std::string> records) {
  auto recorded = std::make_shared<std::vector<Recorded>>(std::move(batch));
  const auto recording = std::chrono::steady_clock::now();
  for (const Recorded& one : *recorded) one.work->stamps.recording = recording;
  // The guard keeps the pool from ending before they are answered. The ledger's one writer answers one message itself,
  // which is quicker than to wake another thread; more it hands over.
  ledger_.Append(std::move(records), [this, recorded, guard = boost::asio::make_work_guard(pool_)](
                                         const Result<std::uint64_t>& sequence) {
    if (recorded->size() == 1) {
      AnswerRecorded(std::move(*recorded), sequence);
    } else {
      boost::asio::post(pool_, [this, recorded, sequence] { AnswerRecorded(std::move(*recorded), sequence); });
    }
  });
}

// Once: what a stale handle or a passing fault spoilt comes right. The signatures are deterministic, so that a second
// attempt cannot give a second one.
void Pipeline::SignAgain(const WorkPointer& work) {
  const std::string_view token = std::exchange(work->wrong, nullptr)->made->token;
  work->signed_again = true;
  tokens_.Distrust(token);
  std::vector<tokens::Signing> signings;
  CollectSignings(work, signings);
  for (tokens::Signing& signing : signings) signing.avoid = token;
  tokens_.Sign(std::move(signings));
}

void Pipeline::AnswerRecorded(std::vector<Recorded> batch, const Result<std::uint64_t>& sequence) {
  std::uint64_t next = sequence ? *sequence : 0;
  for (Recorded& one : batch) {
    one.work->first_record = next;
    next += one.message.signatures.size();
    Answer(*one.work, sequence ? Result<SignedMessage>(std::move(one.message)) : sequence.error());
  }
}

std::uint64_t Pipeline::OctetsOf(const Work& work) {
  if (const auto* whole = std::get_if<std::string_view>(&work.job.message)) return whole->size();
  const HashedMessage& message = *work.hashed;
  if (!message.body_facts) return 0;
  return message.header.block().size() + 2 + message.body_facts->octets;  // with the blank line between them
}

std::vector<std::string> Pipeline::RecordsOf(const Work& work, const SignedMessage& made) const {
  const HashedMessage& message = *work.hashed;
  std::vector<RecordedSignature> signatures;
  auto next =
      made.signatures.begin();  // in the order of the slots, without those that a token that is down could not make
  for (const Work::Slot& slot : work.slots) {
    if (slot.made) signatures.push_back({*slot.key, slot.prepared.digest, (next++)->field});
  }
  return MakeRecords(work.job.origin, message, signatures, OctetsOf(work), recipients_, ledger_.now_us(),
                     work.fingerprint);
}

// All signatures are there; or only those of tokens that are down are not, and a verifier has one that it can use: one
// that verifies is enough (RFC 6376, 6.1), but few know Ed25519, so that where the domain has RSA keys it is one of
// RSA. A token that has made one of them is not down: what it could not do it can when it is asked again.
Status Pipeline::CheckEnough(const Work& work) {
  bool made_any = false, made_rsa = false, wants_rsa = false;
  for (const Work::Slot& slot : work.slots) {
    const bool rsa = slot.key->public_key->algorithm() == dkim::Algorithm::kRsaSha256;
    wants_rsa = wants_rsa || rsa;
    made_any = made_any || slot.made;
    made_rsa = made_rsa || (rsa && slot.made);
  }
  const bool enough = made_any && (made_rsa || !wants_rsa);
  for (const Work::Slot& slot : work.slots) {
    if (slot.made) continue;
    const Reason reason = slot.made.error().reason;
    const bool down = reason == Reason::kTokenDown || reason == Reason::kPinRejected;
    const bool works = std::any_of(work.slots.begin(), work.slots.end(), [&](const Work::Slot& other) {
      return other.made && other.key->token == slot.key->token;
    });
    if (!enough || !down || works) return slot.made.error();
  }
  return Ok();
}

Result<SignedMessage> Pipeline::FinishOne(Work& work, const snapshot::Snapshot& now) {
  const HashedMessage& message = *work.hashed;
  // It may have waited, or have come in chunks for hours, since it was let in.
  if (&now != work.job.origin.snapshot.get()) {
    const Status allowed = admission::CheckStillAllowed(now, *work.job.origin.relay, *message.admitted.partner);
    if (!allowed) return allowed.error();
  }
  const Status enough = CheckEnough(work);
  if (!enough) return enough.error();
  SignedMessage result;
  result.signing_domain = message.admitted.domain->name;
  for (const Work::Slot& slot : work.slots) {
    if (!slot.made) continue;
    // A stale handle, a faulty token or a wrong mechanism must never reach the world.
    if (!slot.key->public_key->Verify(slot.prepared.digest, slot.made->signature)) {
      work.wrong = &slot;
      return MakeError(Reason::kSignatureInvalid, "token " + std::string(slot.made->token) + " made a signature with " +
                                                      slot.key->selector + "._domainkey." + slot.key->domain +
                                                      " that does not verify");
    }
    result.signatures.push_back(
        {WithLineEndsOf(message.header, dkim::AssembleField(slot.prepared, slot.made->signature)), slot.key->selector,
         slot.key->public_key->algorithm(), message.body_hash.digest});
  }
  result.warnings = dkim::FindWarnings(message.header, message.body_facts ? &*message.body_facts : nullptr,
                                       *message.admitted.domain->profile);
  if (result.signatures.size() < work.slots.size()) {
    result.warnings.push_back({dkim::WarningCode::kFewerSignatures,
                               "a token is down: " + std::to_string(result.signatures.size()) + " of the domain's " +
                                   std::to_string(work.slots.size()) + " keys have signed"});
  }
  return result;
}

void Pipeline::Answer(Work& work, Result<SignedMessage> result) {
  ++(result ? signed_ : refused_);
  if (result) work.hashed->admitted.charge.Keep();
  if (observer_ != nullptr) {
    work.stamps.answered = std::chrono::steady_clock::now();
    Observe(work, result ? std::nullopt : std::optional(result.error().reason));
  }
  if (work.id) AnswerWaiters(work, result);
  const auto done = std::move(work.job.done);
  if (work.place != nullptr) intake_.Leave(*work.place);
  done(std::move(result));
}

void Pipeline::Observe(const Work& work, std::optional<Reason> refusal) const {
  const Origin& origin = work.job.origin;
  Answered answered{.partner = work.partner ? std::string_view((*work.partner)->name) : std::string_view(),
                    .relay = origin.relay->name,
                    .signing_domain = {},
                    .author = {},
                    .octets = 0,
                    .recipients = origin.envelope.recipients.size(),
                    .refusal = refusal,
                    .fewer_signatures = false,
                    .stamps = work.stamps};
  if (work.hashed) {
    answered.signing_domain = work.hashed->admitted.domain->name;
    answered.author = work.hashed->admitted.author.address;
    answered.octets = OctetsOf(work);
  }
  answered.fewer_signatures = !refusal && std::any_of(work.slots.begin(), work.slots.end(),
                                                      [](const Work::Slot& slot) { return !slot.made.has_value(); });
  observer_->OnAnswer(answered);
}

void Pipeline::NoteRefusal(const Origin* origin, Reason reason) {
  ++refused_;
  if (observer_ == nullptr) return;
  Answered answered;
  answered.refusal = reason;
  if (origin != nullptr) {
    answered.relay = origin->relay->name;
    const auto partner = admission::FindPartner(*origin->snapshot, *origin->relay, origin->requested_partner);
    if (partner) answered.partner = (*partner)->name;
  }
  observer_->OnAnswer(answered);
}

Counters Pipeline::counters() const {
  return {signed_.load(), refused_.load(), static_cast<std::int64_t>(intake_.in_flight()),
          static_cast<std::int64_t>(prepare_.waiting() + finish_.waiting()), deduplication_.forgotten()};
}

}  // namespace hallmark::pipeline
