#include <string>

#include "check.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/limits.h"
#include "signerd/dkim/signature_field.h"
#include "signerd/dkim/verifier.h"

// A DKIM-Signature field of any octets: what parses keeps what the parser promises, and nothing verifies that was not
// signed.
namespace {

using namespace hallmark;
using namespace hallmark::dkim;

constexpr const char* kRecord = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

void CheckField(const Field& raw) {
  NamesOf(raw);
  const auto field = ParseSignatureField(raw);
  if (!field) {
    Check(!field.error().message.empty(), "a fault has a sentence");
    return;
  }
  Check(NormalizeDomain(field->domain).has_value() && ValidateSelector(field->selector).has_value(), "names are names");
  Check(field->auid_domain.ends_with(field->domain), "i= is within d=");
  Check(!field->signed_names.empty() && field->signed_names.size() <= kMaxSignedNames, "h= is bounded");
  Check(!field->expires || !field->signed_at || *field->expires > *field->signed_at, "x= is after t=");
  Check(field->without_signature.size() < raw.raw.size(), "b= was taken out");
  Check(field->without_signature.starts_with(raw.name), "the name stays");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string value(reinterpret_cast<const char*>(data), size);
  const std::string rest = "From: joe@football.example.com\r\nSubject: x\r\n";
  const auto header = Header::Parse("DKIM-Signature:" + value);
  if (header && !header->fields().empty()) CheckField(header->fields().front());
  const KeyLookup lookup = [](const std::string&) { return Result<std::vector<std::string>>({kRecord}); };
  const auto verdicts = VerifyMessage("DKIM-Signature:" + value + "\r\n" + rest + "\r\nHi.\r\n", lookup,
                                      std::chrono::sys_seconds(std::chrono::seconds(1'600'000'000)));
  if (!verdicts) return 0;
  for (const SignatureVerdict& verdict : *verdicts) {
    Check(verdict.verdict != Verdict::kPass, "only what was signed verifies");
    Check(!verdict.reason.empty(), "a verdict has a reason");
  }
  return 0;
}
