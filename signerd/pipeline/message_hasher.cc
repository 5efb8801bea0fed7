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

// A rule about the body is no rule where the relay keeps to itself what it is about.
Status CheckClaims(const ClaimedBody& body, const Admitted& admitted) {
  const dkim::SigningProfile& profile = *admitted.domain->profile;
  if (admitted.partner->message.max_octets != 0 && !body.length && !body.facts) {
    return MakeError(Reason::kInvalidArgument,
                     "body_facts: partner " + admitted.partner->name + " has a largest size, which needs them");
  }
  if (profile.body_length && !body.length) {
    return MakeError(Reason::kInvalidArgument,
                     "body_length: the signing profile " + profile.name + " writes l=, which needs it");
  }
  if (profile.line_endings == dkim::LineEndings::kRefuse && !body.facts) {
    return MakeError(Reason::kInvalidArgument,
                     "body_facts: the signing profile " + profile.name + " refuses bare line ends, which needs them");
  }
  return body.facts ? CheckLineEndings(body.facts->lines, *admitted.domain, "body") : Ok();
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

// The header ended with the stream, which may have taken hours: nothing was decided yet.
Status MessageHasher::DecideAtLast() {
  auto now = reception_.snapshot.Get();
  const snapshot::Relay* relay = now->FindRelay(origin_.relay->identity);
  if (relay == nullptr) {
    return MakeError(Reason::kCertificateRevoked, "relay " + origin_.relay->name + " was revoked meanwhile");
  }
  const Status good = admission::CheckCertificate(*now, *relay, origin_.certificate);
  if (!good) return good;
  origin_.relay = relay;
  origin_.snapshot = std::move(now);
  const Status ended = EndHeader();
  return ended ? admission::CheckSize(*admitted_->partner, octets_) : ended;
}

Status MessageHasher::DecideAgain() {
  auto now = reception_.snapshot.Get();
  const Status allowed = admission::CheckStillAllowed(*now, *origin_.relay, origin_.certificate, *admitted_->partner);
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
  const Status decided = header_ ? DecideAgain() : DecideAtLast();
  if (!decided) return decided.error();
  const dkim::BodyHash hash = body_->Finish();
  auto message = WithBody({std::move(*header_), std::move(*admitted_), {}}, {hash, body_->facts()});
  // Of a profile that has another form now, c= says the one that was hashed.
  if (message) message->body_canonicalization = body_form_;
  return message;
}

Result<HashedMessage> TakeDigest(const Origin& origin, const Reception& reception, std::string_view header_block,
                                 const ClaimedBody& body) {
  auto header = dkim::Header::Parse(header_block, reception.limits);
  if (!header) return header.error();
  const auto body_octets = body.facts ? std::optional(body.facts->octets) : body.length;
  const auto octets = body_octets ? std::optional(header_block.size() + *body_octets) : std::nullopt;
  auto admitted = Admit(origin, reception, *header, octets);
  if (!admitted) return admitted.error();
  const Status told = CheckClaims(body, *admitted);
  if (!told) return told.error();
  return HashedMessage{std::move(*header),
                       std::move(*admitted),
                       body.canonicalization,
                       {body.hash, body.length.value_or(0)},
                       body.facts};
}

}  // namespace hallmark::pipeline
