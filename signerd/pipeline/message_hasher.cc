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
Result<Admitted> Admit(const Origin& origin, const dkim::Header& header) {
  auto author = dkim::FindAuthor(header);
  if (!author) return author.error();
  const auto domain = admission::ChooseDomain(*origin.snapshot, *origin.relay, author->domain, origin.requested_domain);
  if (!domain) return domain.error();
  const Status lines = CheckLineEndings(header.line_facts(), **domain, "header");
  if (!lines) return lines.error();
  return Admitted{&origin.snapshot->partners.at("own"), *domain, std::move(*author)};
}

}  // namespace

Result<ParsedMessage> ParseMessage(const Origin& origin, const dkim::Limits& limits, std::string_view message) {
  dkim::HeaderReader reader(limits);
  const auto taken = reader.Push(message);
  if (!taken) return taken.error();
  auto header = std::move(reader).Finish();
  if (!header) return header.error();
  auto admitted = Admit(origin, *header);
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
  if (!header_) {
    const auto taken = reader_.Push(chunk);
    if (!taken) return taken.error();
    if (!reader_.done()) return Ok();
    const Status ended = EndHeader();
    if (!ended) return ended;
    chunk.remove_prefix(*taken);
  }
  body_->Push(chunk);
  return Ok();
}

Status MessageHasher::EndHeader() {
  auto header = std::move(reader_).Finish();
  if (!header) return header.error();
  auto admitted = Admit(origin_, *header);
  if (!admitted) return admitted.error();
  header_.emplace(std::move(*header));
  admitted_.emplace(std::move(*admitted));
  body_.emplace(admitted_->domain->profile->body);
  return Ok();
}

Result<HashedMessage> MessageHasher::Finish() {
  if (!header_) {
    const Status ended = EndHeader();
    if (!ended) return ended.error();
  }
  const dkim::BodyHash hash = body_->Finish();
  return WithBody({std::move(*header_), std::move(*admitted_), {}}, {hash, body_->facts()});
}

Result<HashedMessage> TakeDigest(const Origin& origin, const dkim::Limits& limits, std::string_view header_block,
                                 dkim::Canonicalization body_canonicalization, const dkim::Digest& body_hash,
                                 std::optional<std::uint64_t> body_length) {
  auto header = dkim::Header::Parse(header_block, limits);
  if (!header) return header.error();
  auto admitted = Admit(origin, *header);
  if (!admitted) return admitted.error();
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
