#include "signerd/token_signer.h"

#include <future>
#include <optional>

#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/sha256.h"
#include "signerd/tokens/key_type.h"

namespace hallmark {
namespace {

constexpr std::chrono::seconds kProbeWait{10};

Result<keys::TokenKey> Describe(const Result<link::KeyReply>& reply) {
  if (!reply) return reply.error();
  return keys::TokenKey{reply->spki, reply->sensitive != 0, reply->extractable != 0};
}

bool CannotMake(const tokens::TokenFacts& facts, dkim::Algorithm algorithm) {
  switch (tokens::TypeOf(algorithm)) {
    case link::KeyType::kRsa: return (facts.status.cannot_make & 1) != 0;
    case link::KeyType::kEd25519: return (facts.status.cannot_make & 2) != 0;
  }
  return false;
}

}  // namespace

Status TokenSigner::CanMake(const std::string& token, dkim::Algorithm algorithm) const {
  Status can = Ok();
  for (const tokens::TokenFacts& facts : tokens_.Facts()) {
    if (facts.group != token) continue;
    if (!CannotMake(facts, algorithm)) return Ok();
    can = MakeError(Reason::kTokenRefused, "token " + facts.name + " (" + facts.status.manufacturer + " " +
                                               facts.status.model + ") makes no " +
                                               std::string(dkim::InfoOf(algorithm).key_name) + " keys");
  }
  return can;
}

std::vector<std::string> TokenSigner::Asked(const std::string& token) const {
  std::vector<std::string> members = tokens_.MembersOf(token);
  if (members.empty()) members = {token};
  return members;
}

std::string TokenSigner::MemberToMakeIn(const std::string& token, dkim::Algorithm algorithm) const {
  const auto members = Asked(token);
  if (members.size() == 1) return members.front();
  std::string chosen;
  for (const tokens::TokenFacts& facts : tokens_.Facts()) {
    if (facts.group != token || facts.status.state != link::TokenState::kReady || CannotMake(facts, algorithm))
      continue;
    if (!facts.sick) return facts.name;
    chosen = facts.name;
  }
  return chosen.empty() ? members.front() : chosen;
}

Result<keys::TokenKey> TokenSigner::Generate(const std::string& token, const keys::KeySpec& spec, const Bytes& cka_id,
                                             const std::string& label) {
  const auto type = tokens::TypeOf(spec.algorithm);
  return Describe(tokens_.Generate(MemberToMakeIn(token, spec.algorithm), type, spec.bits, cka_id, label));
}

// A member that is gone for good must not stop the others: what it may have is asked for again when it is back.
Result<keys::TokenKey> TokenSigner::Find(const std::string& token, const Bytes& cka_id) {
  std::optional<Error> error;
  for (const std::string& member : Asked(token)) {
    auto found = tokens_.Find(member, cka_id);
    if (found) return Describe(found);
    if (!error || found.error().reason == Reason::kKeyMissing) error = found.error();
  }
  return *error;
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

// In all that answer, and it is not done before all have.
Status TokenSigner::Destroy(const std::string& token, const Bytes& cka_id, const Bytes& spki) {
  Status done = Ok();
  for (const std::string& member : Asked(token)) {
    const Status destroyed = tokens_.Destroy(member, cka_id, spki);
    if (done) done = destroyed;
  }
  return done;
}

Result<Bytes> TokenSigner::Sign(std::shared_ptr<const snapshot::Key> key, const std::string& text) {
  const dkim::Digest digest = dkim::Sha256Of(text);
  auto promise = std::make_shared<std::promise<Result<tokens::Made>>>();
  auto answer = promise->get_future();
  std::vector<tokens::Signing> batch;
  batch.push_back({key, digest, &text, std::chrono::steady_clock::now() + kProbeWait, tokens::Flow{"operators"},
                   nullptr, [promise](Result<tokens::Made> made) { promise->set_value(std::move(made)); }});
  tokens_.Sign(std::move(batch));
  Result<tokens::Made> made = answer.get();
  if (!made) return made.error();
  if (!key->public_key->Verify(digest, made->signature)) {
    return MakeError(Reason::kSignatureInvalid,
                     "token " + std::string(made->token) + " made a signature that does not verify");
  }
  return std::move(made->signature);
}

}  // namespace hallmark
