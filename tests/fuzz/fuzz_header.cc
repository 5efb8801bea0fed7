#include <optional>
#include <string>

#include "check.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/canonical.h"
#include "signerd/dkim/profile.h"
#include "signerd/dkim/signature.h"
#include "signerd/dkim/signature_field.h"
#include "signerd/dkim/warnings.h"

// A message in pieces has the header of the whole one; its fields are the block; whatever can be signed gets a field
// that parses, with the very header hash that was signed.
namespace {

using namespace hallmark;
using namespace hallmark::dkim;

struct Message {
  Result<Header> header;
  std::string body;
};

Message Read(std::string_view octets, std::string_view sizes) {
  constexpr Limits kSmall{.header_octets = 4096, .header_fields = 100};
  HeaderReader reader(kSmall);
  std::string body;
  std::optional<Error> error;
  InPieces(octets, sizes, [&](std::string_view piece) {
    if (error) return;
    if (!reader.done()) {
      const auto taken = reader.Push(piece);
      if (!taken) {
        error = taken.error();
        return;
      }
      Check(*taken == piece.size() || reader.done(), "all of a piece is taken until the header ends");
      piece.remove_prefix(*taken);
    }
    body.append(piece);
  });
  return {error ? Result<Header>(*error) : std::move(reader).Finish(), body};
}

void CheckFields(const Header& header) {
  std::string block;
  for (const Field& field : header.fields()) {
    block.append(field.raw);
    Check(!field.name.empty() && field.raw.starts_with(field.name) && field.raw.ends_with(field.value),
          "a field is of one piece");
    Check(field.value.ends_with("\r\n"), "a field ends in CRLF");
    const std::string relaxed = CanonicalField(Canonicalization::kRelaxed, field.raw);
    Check(CanonicalField(Canonicalization::kRelaxed, relaxed) == relaxed, "a relaxed field is its own relaxed form");
    Check(CanonicalField(Canonicalization::kSimple, field.raw) == field.raw, "a simple field is untouched");
  }
  Check(block == header.block(), "the fields are the block");
  const auto again = Header::Parse(header.block());
  Check(again && again->block() == header.block() && again->fields().size() == header.fields().size(),
        "a block parses to itself");
  Check(again->line_facts().bare_cr == 0 && again->line_facts().bare_lf == 0, "a block has CRLF only");
}

void CheckSigning(const Header& header, const Author& author, bool relaxed) {
  const auto domain = NormalizeDomain(author.domain);
  Check(domain && *domain == author.domain, "an author domain is normal");
  SigningProfile wanted = DefaultProfile();
  wanted.header = relaxed ? Canonicalization::kRelaxed : Canonicalization::kSimple;
  wanted.copied_fields = true;
  const PreparedProfile profile(std::move(wanted));
  const auto fields = CanonicalizeFields(header, profile);
  Check(fields.has_value(), "whatever has an author has fields to sign");
  const BodyHash body;
  const auto prepared = PrepareSignature({.fields = *fields,
                                          .profile = profile,
                                          .domain = author.domain,
                                          .selector = "sel",
                                          .algorithm = Algorithm::kEd25519Sha256,
                                          .body_canonicalization = profile.body,
                                          .body_hash = body,
                                          .time = std::chrono::sys_seconds(std::chrono::seconds(1'000'000'000))});
  Check(prepared.has_value(), "whatever has an author can be signed");
  const Bytes signature(64, 1);
  const auto signed_header = Header::Parse(AssembleField(*prepared, signature) + std::string(header.block()));
  Check(signed_header && signed_header->fields().size() == header.fields().size() + 1, "the new field is one field");
  const auto field = ParseSignatureField(signed_header->fields().front());
  Check(field && field->domain == author.domain && field->selector == "sel" && field->signature == signature,
        "the new field parses");
  Check(HeaderHash(*signed_header, *field) == prepared->digest, "the header hash is the one that was signed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view sizes = TakeSizes(input);
  const Message whole = Read(input, {}), pieces = Read(input, sizes);
  Check(whole.header.has_value() == pieces.header.has_value(), "pieces do not change what is refused");
  if (!whole.header) {
    Check(whole.header.error() == pieces.header.error(), "pieces do not change the reason");
    return 0;
  }
  Check(whole.header->block() == pieces.header->block() && whole.body == pieces.body,
        "pieces do not change the message");
  Check(whole.header->line_facts().bare_cr == pieces.header->line_facts().bare_cr &&
            whole.header->line_facts().bare_lf == pieces.header->line_facts().bare_lf &&
            whole.header->crlf() == pieces.header->crlf(),
        "pieces do not change the facts");
  CheckFields(*whole.header);
  FindWarnings(*whole.header, nullptr, DefaultProfile());
  const auto author = FindAuthor(*whole.header);
  if (!author) return 0;
  CheckSigning(*whole.header, *author, true);
  CheckSigning(*whole.header, *author, false);
  return 0;
}
