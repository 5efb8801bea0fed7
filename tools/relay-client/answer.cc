#include "tools/relay-client/answer.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace hallmark::relay {
namespace {

bool IsSignatureField(std::string_view field) {
  if (!field.starts_with("DKIM-Signature:") || !field.ends_with('\n')) return false;
  for (std::size_t i = 0; i + 1 < field.size(); ++i) {
    const char next = field[i + 1];
    if (field[i] == '\0' || (field[i] == '\r' && next != '\n')) return false;
    if (field[i] == '\n' && next != ' ' && next != '\t') return false;
  }
  return true;
}

const char* AlgorithmName(signing::v1::Algorithm algorithm) {
  switch (algorithm) {
    case signing::v1::ALGORITHM_RSA_SHA256: return "rsa-sha256";
    case signing::v1::ALGORITHM_ED25519_SHA256: return "ed25519-sha256";
    default: return "";
  }
}

}  // namespace

bool HasSignatures(const signing::v1::SignResponse& response) {
  const auto& signatures = response.signatures();
  return !signatures.empty() && std::all_of(signatures.begin(), signatures.end(), [](const auto& signature) {
    return IsSignatureField(signature.header_field());
  });
}

Outcome ToOutcome(signing::v1::SignResponse response) {
  Outcome outcome;
  outcome.signing_domain = std::move(*response.mutable_signing_domain());
  for (auto& signature : *response.mutable_signatures()) {
    const char* const algorithm = AlgorithmName(signature.algorithm());
    outcome.signatures.push_back(
        {std::move(*signature.mutable_header_field()), std::move(*signature.mutable_selector()), algorithm});
  }
  for (auto& warning : *response.mutable_warnings()) {
    outcome.warnings.push_back({std::move(*warning.mutable_code()), std::move(*warning.mutable_message())});
  }
  return outcome;
}

}  // namespace hallmark::relay
