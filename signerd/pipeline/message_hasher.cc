#include "signerd/pipeline/message_hasher.h"

#include "signerd/admission/admission.h"

namespace hallmark::pipeline {
namespace {

Status CheckLineEndings(const dkim::LineFacts& facts, const snapshot::Domain& domain, std::string_view where) {
  if (domain.profile->line_endings == dkim::LineEndings::kNormalize) return Ok();
  if (facts.bare_lf == 0 && facts.bare_cr == 0) return Ok();
  return MakeError(Reason::kBareLineEnding, "the " + std::string(where) + " has " + std::to_string(facts.bare_lf) +
                                                " bare LF and " + std::to_string(facts.bare_cr) +
                                                " bare CR, and the signing profile " + domain.profile->name +
                                                " refuses them: end every line with CRLF");
}

// What the header of every message goes through once it has ended.
Result<Admitted> Admit(const Origin& origin, const Reception& reception, const dkim::Header& header,
                       std::optional<std::uint64_t> octets) {
  auto decision = admission::Decide(QuestionOf(origin, header, octets, reception.clock.Now()));
  if (!decision) return decision.error();
  if (reception.repeated && reception.repeated(origin)) {
    return Admitted{decision->partner, decision->domain, std::move(decision->author), {}, false};
  }
  auto charge = reception.quotas.Take(*decision->partner, origin.envelope.recipients.size(), reception.clock.Precise());
  if (!charge) return charge.error();
  return Admitted{decision->partner, decision->domain, std::move(decision->author), std::move(*charge), true};
}

}  // namespace

admission::Question QuestionOf(const Origin& origin, const dkim::Header& header, std::optional<std::uint64_t> octets,
                               std::chrono::sys_seconds now) {
  return {*origin.snapshot, *origin.relay, origin.requested_partner,          origin.requested_domain,
          header,           octets,        origin.envelope.recipients.size(), now};
}

Result<ParsedMessage> ParseMessage(const Origin& origin, const Reception& reception, std::string_view message) {
  dkim::HeaderReader reader(reception.limits);
  const auto taken = reader.Push(message);
  if (!taken) return taken.error();
  auto header = std::move(reader).Finish();
  if (!header) return header.error();
  auto admitted = Admit(origin, reception, *header, message.size());
  if (!admitted) return admitted.error();
  return ParsedMessage{std::move(*header), std::move(*admitted), message.substr(*taken)};
}

Result<HashedMessage> WithBody(ParsedMessage message, const dkim::HashedBody& body) {
  const Status lines = CheckLineEndings(body.facts.lines, *message.admitted.domain, "body");
  if (!lines) return lines.error();
  const dkim::Canonicalization form = message.admitted.domain->profile->body;
  return HashedMessage{std::move(message.header), std::move(message.admitted), form, body.hash, body.facts};
}

Status MessageHasher::Push(std::string_view chunk) {
  octets_ += chunk.size();
  if (!header_) {
    const auto taken = reader_.Push(chunk);
    if (!taken) return taken.error();
    if (!reader_.done()) return Ok();
    const Status ended = EndHeader();
    if (!ended) return ended;
    chunk.remove_prefix(*taken);
  }
  const Status size = admission::CheckSize(*admitted_->partner, octets_);
  if (!size) return size;
  body_->Push(chunk);
  return Ok();
}

Status MessageHasher::EndHeader() {
  auto header = std::move(reader_).Finish();
  if (!header) return header.error();
  auto admitted = Admit(origin_, reception_, *header, std::nullopt);
  if (!admitted) return admitted.error();
  header_.emplace(std::move(*header));
  admitted_.emplace(std::move(*admitted));
  body_form_ = admitted_->domain->profile->body;
  body_.emplace(body_form_);
  return Ok();
}

Status MessageHasher::DecideAgain() {
  auto now = reception_.snapshot.Get();
  const Status allowed = admission::CheckStillAllowed(*now, *origin_.relay, *admitted_->partner);
  if (!allowed) return allowed;
  const snapshot::Relay* relay = now->FindRelay(origin_.relay->identity);
  auto decision = admission::Decide({*now, *relay, origin_.requested_partner, origin_.requested_domain, *header_,
                                     octets_, origin_.envelope.recipients.size(), reception_.clock.Now()});
  if (!decision) return decision.error();
  // From here on it is a message of now: a key that was revoked meanwhile signs nothing more.
  admitted_->partner = decision->partner;
  admitted_->domain = decision->domain;
  admitted_->author = std::move(decision->author);
  origin_.relay = relay;
  origin_.snapshot = std::move(now);
  return Ok();
}

Result<HashedMessage> MessageHasher::Finish() {
  if (!header_) {
    const Status ended = EndHeader();
    if (!ended) return ended.error();
    const Status size = admission::CheckSize(*admitted_->partner, octets_);
    if (!size) return size.error();
  } else if (const Status still = DecideAgain(); !still) {
    return still.error();
  }
  const dkim::BodyHash hash = body_->Finish();
  auto message = WithBody({std::move(*header_), std::move(*admitted_), {}}, {hash, body_->facts()});
  // Of a profile that has another form now, c= says the one that was hashed.
  if (message) message->body_canonicalization = body_form_;
  return message;
}

Result<HashedMessage> TakeDigest(const Origin& origin, const Reception& reception, std::string_view header_block,
                                 dkim::Canonicalization body_canonicalization, const dkim::Digest& body_hash,
                                 std::optional<std::uint64_t> body_length) {
  auto header = dkim::Header::Parse(header_block, reception.limits);
  if (!header) return header.error();
  const auto octets = body_length ? std::optional(header_block.size() + *body_length) : std::nullopt;
  auto admitted = Admit(origin, reception, *header, octets);
  if (!admitted) return admitted.error();
  if (admitted->partner->message.max_octets != 0 && !body_length) {
    return MakeError(Reason::kInvalidArgument,
                     "body_length: partner " + admitted->partner->name + " has a largest size, which needs it");
  }
  if (admitted->domain->profile->body_length && !body_length) {
    return MakeError(Reason::kInvalidArgument, "body_length: the signing profile " + admitted->domain->profile->name +
                                                   " writes l=, which needs it");
  }
  return HashedMessage{std::move(*header),
                       std::move(*admitted),
                       body_canonicalization,
                       {body_hash, body_length.value_or(0)},
                       std::nullopt};
}

}  // namespace hallmark::pipeline
