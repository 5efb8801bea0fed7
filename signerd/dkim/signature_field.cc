#include "signerd/dkim/signature_field.h"

#include <algorithm>
#include <charconv>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/ascii.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/canonical.h"
#include "signerd/dkim/field_selection.h"
#include "signerd/dkim/limits.h"
#include "signerd/dkim/sha256.h"
#include "signerd/dkim/tag_list.h"

namespace hallmark::dkim {
namespace {

Error Invalid(const std::string& what) { return MakeError(Reason::kInvalidArgument, what); }

Result<std::optional<std::uint64_t>> Number(const TagList& tags, std::string_view name) {
  const Tag* tag = tags.Find(name);
  if (tag == nullptr) return std::optional<std::uint64_t>();
  std::uint64_t number = 0;
  const char* end = tag->value.data() + tag->value.size();
  const auto [at, error] = std::from_chars(tag->value.data(), end, number);
  if (error != std::errc() || at != end || tag->value.empty()) return Invalid(std::string(name) + "= is not a number");
  return std::optional(number);
}

Result<std::optional<std::chrono::sys_seconds>> Time(const TagList& tags, std::string_view name) {
  constexpr std::uint64_t kEndOfTime = 253'402'300'799;  // the year 9999
  const auto number = Number(tags, name);
  if (!number) return number.error();
  if (!*number) return std::optional<std::chrono::sys_seconds>();
  if (**number > kEndOfTime) return Invalid(std::string(name) + "= is out of range");
  return std::optional(std::chrono::sys_seconds(std::chrono::seconds(**number)));
}

Result<Canonicalization> CanonicalizationByName(std::string_view name) {
  if (EqualsIgnoringCase(name, "simple")) return Canonicalization::kSimple;
  if (EqualsIgnoringCase(name, "relaxed")) return Canonicalization::kRelaxed;
  return Invalid("c= is not a canonicalization that is known");
}

// No c= means simple/simple, one name means that for the header and simple for the body (RFC 6376 section 3.5).
Status ReadCanonicalization(const TagList& tags, SignatureField& out) {
  const std::string_view c = tags.Value("c");
  if (c.empty()) return tags.Find("c") == nullptr ? Ok() : Status(Invalid("c= is empty"));
  const std::size_t slash = c.find('/');
  const auto header = CanonicalizationByName(c.substr(0, slash));
  if (!header) return header.error();
  out.header = *header;
  if (slash == std::string_view::npos) return Ok();
  const auto body = CanonicalizationByName(c.substr(slash + 1));
  if (!body) return body.error();
  out.body = *body;
  return Ok();
}

Status ReadNames(const TagList& tags, SignatureField& out) {
  const Tag* h = tags.Find("h");
  if (h == nullptr || h->value.empty()) return Invalid("h= is missing");
  if (static_cast<std::size_t>(std::count(h->value.begin(), h->value.end(), ':')) >= kMaxSignedNames) {
    return Invalid("h= has more than " + std::to_string(kMaxSignedNames) + " names");
  }
  out.signed_names = SplitList(h->value, ':');
  const bool from = std::any_of(out.signed_names.begin(), out.signed_names.end(),
                                [](std::string_view name) { return EqualsIgnoringCase(name, "from"); });
  return from ? Ok() : Status(Invalid("h= does not sign From"));
}

Status ReadIdentity(const TagList& tags, SignatureField& out) {
  const std::string d = WithoutFws(tags.Value("d"));
  if (d.empty()) return Invalid("d= is missing");
  const auto domain = NormalizeDomain(d);
  if (!domain) return Invalid("d= is not a domain name");
  out.domain = *domain;
  out.selector = ToLower(WithoutFws(tags.Value("s")));
  if (out.selector.empty()) return Invalid("s= is missing");
  if (!ValidateSelector(out.selector)) return Invalid("s= is not a selector");
  out.auid_domain = out.domain;
  const Tag* i = tags.Find("i");
  if (i == nullptr) return Ok();
  const std::string auid = WithoutFws(i->value);
  const std::size_t at = auid.rfind('@');
  if (at == std::string::npos) return Invalid("i= has no @");
  const auto auid_domain = NormalizeDomain(std::string_view(auid).substr(at + 1));
  if (!auid_domain) return Invalid("i= has no domain name");
  out.auid_domain = *auid_domain;
  const bool within = out.auid_domain == out.domain ||
                      (out.auid_domain.size() > out.domain.size() && out.auid_domain.ends_with("." + out.domain));
  return within ? Ok() : Status(Invalid("i= is not within d="));
}

Status ReadHashes(const TagList& tags, SignatureField& out) {
  const Tag* bh = tags.Find("bh");
  const Tag* b = tags.Find("b");
  if (bh == nullptr) return Invalid("bh= is missing");
  if (b == nullptr || b->value.empty()) return Invalid("b= is missing");
  const auto hash = Base64Decode(WithoutFws(bh->value));
  if (!hash || hash->size() != out.body_hash.size()) return Invalid("bh= is not the base64 of 32 octets");
  std::copy(hash->begin(), hash->end(), out.body_hash.begin());
  auto signature = Base64Decode(WithoutFws(b->value));
  if (!signature) return Invalid("b= is not base64");
  out.signature = std::move(*signature);
  return Ok();
}

Status ReadTimes(const TagList& tags, SignatureField& out) {
  const auto signed_at = Time(tags, "t");
  if (!signed_at) return signed_at.error();
  const auto expires = Time(tags, "x");
  if (!expires) return expires.error();
  const auto length = Number(tags, "l");
  if (!length) return length.error();
  out.signed_at = *signed_at;
  out.expires = *expires;
  out.body_length = *length;
  if (out.signed_at && out.expires && *out.expires <= *out.signed_at) return Invalid("x= is not after t=");
  return Ok();
}

}  // namespace

Result<SignatureField> ParseSignatureField(const Field& field) {
  const std::string_view value = field.value.substr(0, field.value.size() - 2);  // without the final CRLF
  const auto tags = TagList::Parse(value);
  if (!tags) return tags.error();
  if (tags->Find("v") == nullptr) return Invalid("v= is missing");
  if (tags->Value("v") != "1") return Invalid("v= is not 1");
  SignatureField out;
  out.raw = field.raw;
  const std::string_view a = tags->Value("a");
  if (a.empty()) return Invalid("a= is missing");
  const auto algorithm = AlgorithmByName(a);
  if (!algorithm) return Invalid("a= is not an algorithm that is accepted (RFC 8301, RFC 8463)");
  out.algorithm = *algorithm;
  for (const auto read : {&ReadCanonicalization, &ReadNames, &ReadIdentity, &ReadHashes, &ReadTimes}) {
    const Status good = read(*tags, out);
    if (!good) return good.error();
  }
  if (const Tag* q = tags->Find("q")) {
    const auto methods = SplitList(q->value, ':');
    const bool dns = std::any_of(methods.begin(), methods.end(),
                                 [](std::string_view m) { return EqualsIgnoringCase(m, "dns/txt"); });
    if (!dns) return Invalid("q= does not offer dns/txt");
  }
  const std::string_view b = tags->Find("b")->whole;
  const auto before = static_cast<std::size_t>(b.data() - field.raw.data());
  out.without_signature = std::string(field.raw.substr(0, before)) +
                          std::string(field.raw.substr(before + b.size(), field.raw.size() - 2 - before - b.size()));
  return out;
}

Digest HeaderHash(const Header& header, const SignatureField& signature) {
  std::string data;
  for (const Field* field : FieldsOf(header, signature.signed_names, signature.raw)) {
    AppendCanonicalField(signature.header, field->raw, data);
  }
  AppendCanonicalField(signature.header, signature.without_signature + "\r\n", data);
  data.resize(data.size() - 2);
  return Sha256Of(data);
}

SignatureNames NamesOf(const Field& field) {
  const auto tags = TagList::Parse(field.value);
  if (!tags) return {};
  return {WithoutFws(tags->Value("d")), WithoutFws(tags->Value("s")), WithoutFws(tags->Value("a")),
          WithoutFws(tags->Value("c"))};
}

}  // namespace hallmark::dkim
