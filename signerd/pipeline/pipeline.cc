#include "signerd/pipeline/pipeline.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "firmware/runtime/log.h"
#include "signerd/pipeline/recall.h"
#include "signerd/pipeline/records.h"
#include "signerd/pipeline/work.h"

namespace hallmark::pipeline {
namespace {

// What a thread of gRPC's may spend on one message before others wait for it: a message of some 60,000 octets.
constexpr double kMostCostHere = 4;
// So few messages in flight leave the thread of the tokens idle most of the time.
constexpr std::size_t kFewInFlight = 2;

std::size_t ThreadCount(std::size_t configured) {
  return configured != 0 ? configured : std::max<std::size_t>(2, std::thread::hardware_concurrency());
}

// Whether it is given again. Of a key that signs no more the record may be gone from the DNS, or say that it is
// revoked.
bool IsOfActiveKeys(const SignedMessage& answer, const snapshot::Domain& domain) {
  const auto active = [&](const MadeSignature& signature) {
    return std::any_of(domain.active_keys.begin(), domain.active_keys.end(),
                       [&](const auto& key) { return key->selector == signature.selector; });
  };
  return answer.signing_domain == domain.name &&
         std::all_of(answer.signatures.begin(), answer.signatures.end(), active);
}

}  // namespace

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
  auto found = deduplication_.Begin(name, *work->fingerprint, reception_.clock.Now(), work);
  while (found.outcome == Requests::Outcome::kAnswered) {
    if (AnswerAgain(*work, found.first, found.count)) return false;
    deduplication_.Drop(name, found.first);
    found = deduplication_.Begin(name, *work->fingerprint, reception_.clock.Now(), work);
  }
  if (found.outcome == Requests::Outcome::kWaits) return false;  // and may be answered by now
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

Result<SignedMessage> Pipeline::ReadAnswer(const Work& work, std::uint64_t first, std::uint32_t count) const {
  if (const Status allowed = StillAllowed(work, *reception_.snapshot.Get()); !allowed) return allowed.error();
  std::vector<std::string> records;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto record = read_record_(first + i);
    if (record) records.push_back(std::move(*record));
  }
  auto answer = AnswerFrom(records);
  if (!answer || records.size() != count) {
    log::error("ledger: the answer in record {} cannot be read back", first);
    return MakeError(Reason::kLedgerUnavailable, "the answer cannot be read back from the ledger");
  }
  const snapshot::Domain& domain = *work.hashed->admitted.domain;
  answer->warnings = dkim::FindWarnings(work.hashed->header,
                                        work.hashed->body_facts ? &*work.hashed->body_facts : nullptr, *domain.profile);
  if (answer->signatures.size() < domain.active_keys.size()) {
    answer->warnings.push_back({dkim::WarningCode::kFewerSignatures,
                                std::to_string(answer->signatures.size()) + " of the domain's " +
                                    std::to_string(domain.active_keys.size()) +
                                    " keys have signed: a token was down, or a key is newer than this answer"});
  }
  return answer;
}

// False where it has to be signed again.
bool Pipeline::AnswerAgain(Work& work, std::uint64_t first, std::uint32_t count) {
  Admitted& admitted = work.hashed->admitted;
  auto answer = ReadAnswer(work, first, count);
  if (answer && !IsOfActiveKeys(*answer, *admitted.domain)) return false;
  admitted.charge = {};  // given back: its first answer was counted
  work.repeated = true;
  Answer(work, std::move(answer));
  return true;
}

// Those that came again meanwhile: they get the same, or where it failed, or is not what they would get, try
// themselves.
void Pipeline::AnswerWaiters(Work& work, const Result<SignedMessage>& result) {
  const auto name = *std::exchange(work.id, std::nullopt);
  std::vector<WorkPointer> again;
  if (result) {
    const auto count = static_cast<std::uint32_t>(result->signatures.size());
    const auto now = reception_.snapshot.Get();
    for (WorkPointer& waiter : deduplication_.Finish(name, work.first_record, count, reception_.clock.Now())) {
      Admitted& admitted = waiter->hashed->admitted;
      if (*waiter->fingerprint != *work.fingerprint || !IsOfActiveKeys(*result, *admitted.domain)) {
        again.push_back(std::move(waiter));
        continue;
      }
      admitted.charge = {};
      const Status allowed = StillAllowed(*waiter, *now);
      waiter->repeated = allowed.has_value();
      Answer(*waiter, allowed ? result : Result<SignedMessage>(allowed.error()));
    }
  } else {
    again = deduplication_.Forget(name);
  }
  if (!again.empty()) boost::asio::post(pool_, [this, again] { GoOn(again); });
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

Counters Pipeline::counters() const {
  return {signed_.load(),
          repeated_.load(),
          refused_.load(),
          static_cast<std::int64_t>(intake_.in_flight()),
          static_cast<std::int64_t>(prepare_.waiting() + finish_.waiting()),
          deduplication_.forgotten()};
}

}  // namespace hallmark::pipeline
