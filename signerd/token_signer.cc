#include "signerd/token_signer.h"

#include <future>

namespace hallmark {
namespace {

constexpr std::chrono::seconds kProbeWait{10};

Result<keys::TokenKey> Describe(const Result<link::KeyReply>& reply) {
  if (!reply) return reply.error();
  return keys::TokenKey{reply->spki, reply->sensitive != 0, reply->extractable != 0};
}

}  // namespace

Status TokenSigner::CanMake(const std::string& token, dkim::Algorithm algorithm) const {
  const bool rsa = algorithm == dkim::Algorithm::kRsaSha256;
  for (const tokens::TokenFacts& facts : tokens_.Facts()) {
    if (facts.name != token || (facts.status.cannot_make & (rsa ? 1 : 2)) == 0) continue;
    return MakeError(Reason::kTokenRefused, "token " + token + " (" + facts.status.manufacturer + " " +
                                                facts.status.model + ") makes no " + (rsa ? "RSA" : "Ed25519") +
                                                " keys");
  }
  return Ok();
}

Result<keys::TokenKey> TokenSigner::Generate(const std::string& token, const keys::KeySpec& spec, const Bytes& cka_id,
                                             const std::string& label) {
  const auto type = spec.algorithm == dkim::Algorithm::kRsaSha256 ? link::KeyType::kRsa : link::KeyType::kEd25519;
  return Describe(tokens_.Generate(token, type, spec.bits, cka_id, label));
}

Result<keys::TokenKey> TokenSigner::Find(const std::string& token, const Bytes& cka_id) {
  return Describe(tokens_.Find(token, cka_id));
}

Result<Bytes> TokenSigner::BeginImport(const std::string& token) {
  auto reply = tokens_.BeginImport(token);
  if (!reply) return reply.error();
  return std::move(reply->spki);
}

Result<keys::TokenKey> TokenSigner::Import(const std::string& token, const keys::WrappedKey& wrapped,
                                           const Bytes& cka_id, const std::string& label) {
  return Describe(tokens_.Import(
      token, {0, cka_id, label, wrapped.wrapping_key_sha256, wrapped.secret, wrapped.key, wrapped.spki}));
}

Status TokenSigner::Destroy(const std::string& token, const Bytes& cka_id, const Bytes& spki) {
  return tokens_.Destroy(token, cka_id, spki);
}

Result<Bytes> TokenSigner::Sign(std::shared_ptr<const snapshot::Key> key, const dkim::Digest& digest) {
  auto promise = std::make_shared<std::promise<Result<Bytes>>>();
  auto answer = promise->get_future();
  std::vector<tokens::Signing> batch;
  batch.push_back({key, digest, nullptr, std::chrono::steady_clock::now() + kProbeWait, tokens::Flow{"operators"},
                   nullptr, [promise](Result<Bytes> signature) { promise->set_value(std::move(signature)); }});
  tokens_.Sign(std::move(batch));
  Result<Bytes> signature = answer.get();
  if (signature && !key->public_key->Verify(digest, *signature)) {
    return MakeError(Reason::kSignatureInvalid, "token " + key->token + " made a signature that does not verify");
  }
  return signature;
}

}  // namespace hallmark
