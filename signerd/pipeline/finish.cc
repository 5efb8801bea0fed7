#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <iterator>
#include <utility>

#include "signerd/pipeline/records.h"
#include "signerd/pipeline/work.h"

// The second half of a message's way: its signatures are verified and put into fields, recorded, and answered.
namespace hallmark::pipeline {
namespace {

// RFC 5322 wants CRLF; a message that came with bare LF gets its new fields in kind, or its MTA would see the end of
// the header between them.
std::string WithLineEndsOf(const dkim::Header& header, std::string field) {
  if (header.crlf()) return field;
  std::erase(field, '\r');
  return field;
}

}  // namespace

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

// It may have waited, or have come in chunks for hours, since it was let in. Of each request by itself: those of one
// request_id may come with different certificates.
Status Pipeline::StillAllowed(const Work& work, const snapshot::Snapshot& now) {
  const Origin& origin = work.job.origin;
  if (&now == origin.snapshot.get()) return Ok();
  return admission::CheckStillAllowed(now, *origin.relay, origin.certificate, *work.hashed->admitted.partner);
}

Result<SignedMessage> Pipeline::FinishOne(Work& work, const snapshot::Snapshot& now) {
  const HashedMessage& message = *work.hashed;
  const Status allowed = StillAllowed(work, now);
  if (!allowed) return allowed.error();
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
  ++(!result ? refused_ : work.repeated ? repeated_ : signed_);
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
                    .repeated = work.repeated && !refusal,
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

}  // namespace hallmark::pipeline
