#include "signerd/dkim/verifier.h"

#include <cstdlib>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/ascii.h"
#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/key_record.h"
#include "signerd/dkim/signature_field.h"

namespace hallmark::dkim {
namespace {

constexpr std::size_t kMaxSignatures = 20;
constexpr std::chrono::seconds kClockSkew{300};  // receivers' clocks differ

struct Outcome {
  Verdict verdict;
  std::string reason;
};

// What one key record says of the signature.
Outcome TryRecord(const std::string& text, const SignatureField& signature, const Digest& header_hash) {
  const auto record = ParseKeyRecord(text);
  if (!record) return {Verdict::kPermError, record.error().message};
  if (record->revoked) return {Verdict::kPermError, "the key is revoked (p= is empty)"};
  if (record->algorithm != signature.algorithm) return {Verdict::kPermError, "the key is of another algorithm than a="};
  if (record->strict_identity && signature.auid_domain != signature.domain) {
    return {Verdict::kPermError, "the key is not for subdomains (t=s), and i= is below d="};
  }
  const auto key = PublicKey::FromRecordData(record->algorithm, record->public_data);
  if (!key) return {Verdict::kPermError, "key record: " + key.error().message};
  if (key->Verify(header_hash, signature.signature)) return {Verdict::kPass, ""};
  return {Verdict::kFail, "the signature does not verify: the signed header fields or the key are different"};
}

// Several records at one name: one that verifies is enough.
Outcome TryRecords(const std::vector<std::string>& records, const SignatureField& signature,
                   const Digest& header_hash) {
  Outcome best{Verdict::kPermError, "there is no key record"};
  for (const std::string& record : records) {
    const Outcome outcome = TryRecord(record, signature, header_hash);
    if (outcome.verdict == Verdict::kPass) return outcome;
    if (best.verdict != Verdict::kFail) best = outcome;
  }
  return best;
}

Outcome CheckBody(std::string_view body, const SignatureField& signature) {
  BodyHasher hasher(signature.body, signature.body_length);
  hasher.Push(body);
  const BodyHash hash = hasher.Finish();
  if (signature.body_length && *signature.body_length > hasher.canonical_octets()) {
    return {Verdict::kPermError, "l= is larger than the body"};
  }
  if (hash.digest != signature.body_hash) return {Verdict::kFail, "the body hash does not match: the body was changed"};
  return {Verdict::kPass, ""};
}

Outcome Check(const Header& header, std::string_view body, const SignatureField& signature, const KeyLookup& lookup,
              std::chrono::sys_seconds now) {
  if (signature.expires && *signature.expires < now) return {Verdict::kPermError, "the signature has expired (x=)"};
  if (signature.signed_at && *signature.signed_at > now + kClockSkew) {
    return {Verdict::kPermError, "the signature is from the future (t=)"};
  }
  const auto records = lookup(signature.selector + "._domainkey." + signature.domain);
  if (!records && records.error().reason == Reason::kNotFound) return {Verdict::kPermError, "there is no key record"};
  if (!records) return {Verdict::kTempError, "the key record cannot be had: " + records.error().message};
  const Outcome key = TryRecords(*records, signature, HeaderHash(header, signature));
  if (key.verdict == Verdict::kPermError) return key;
  const Outcome content = CheckBody(body, signature);
  return content.verdict == Verdict::kPass ? key : content;
}

}  // namespace

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass: return "pass";
    case Verdict::kFail: return "fail";
    case Verdict::kPermError: return "permerror";
    case Verdict::kTempError: return "temperror";
  }
  std::abort();  // Unreachable: verdicts come only from this program.
}

Result<std::vector<SignatureVerdict>> VerifyMessage(std::string_view message, const KeyLookup& lookup,
                                                    std::chrono::sys_seconds now) {
  HeaderReader reader;
  const auto taken = reader.Push(message);
  if (!taken) return taken.error();
  const auto header = std::move(reader).Finish();
  if (!header) return header.error();
  const std::string_view body = message.substr(*taken);

  std::vector<SignatureVerdict> verdicts;
  for (const Field& field : header->fields()) {
    if (!EqualsIgnoringCase(field.name, "dkim-signature")) continue;
    if (verdicts.size() == kMaxSignatures) break;
    const SignatureNames names = NamesOf(field);
    SignatureVerdict& verdict = verdicts.emplace_back();
    verdict.domain = names.domain;
    verdict.selector = names.selector;
    verdict.algorithm = names.algorithm;
    verdict.canonicalization = names.canonicalization;
    const auto signature = ParseSignatureField(field);
    if (!signature) {
      verdict.reason = signature.error().message;
      continue;
    }
    verdict.body_hash = Base64Encode(signature->body_hash);
    Outcome outcome = Check(*header, body, *signature, lookup, now);
    verdict.verdict = outcome.verdict;
    verdict.reason = std::move(outcome.reason);
  }
  return verdicts;
}

}  // namespace hallmark::dkim
