#include "signerd/checkpoint_key.h"

#include <openssl/rand.h>

#include <algorithm>
#include <future>

namespace hallmark {
namespace {

constexpr char kLabel[] = "hallmark-ledger";
constexpr std::size_t kIdOctets = 16;
constexpr std::chrono::seconds kWait{10};

}  // namespace

Result<std::array<std::uint8_t, 32>> CheckpointKey::PublicKey() {
  const Status found = Find();
  if (!found) return found.error();
  const Bytes raw = key_->public_key->RecordData();
  std::array<std::uint8_t, 32> key{};
  if (raw.size() != key.size()) return MakeError(Reason::kStorageFailed, "the ledger's recorded key is not of Ed25519");
  std::copy(raw.begin(), raw.end(), key.begin());
  return key;
}

Status CheckpointKey::Find() {
  if (key_ != nullptr) return Ok();
  const auto recorded = store_.GetLedgerKey();
  if (!recorded) return recorded.error();
  store::Store::LedgerKey row;
  if (*recorded) {
    row = **recorded;
  } else {
    auto made = Make();
    if (!made) return made.error();
    row = std::move(*made);
  }
  auto public_key = dkim::PublicKey::FromSpki(row.spki);
  if (!public_key) return public_key.error();
  snapshot::Key key;
  key.selector = kLabel;
  key.token = row.token;
  key.cka_id = row.cka_id;
  key.public_key = std::make_shared<const dkim::PublicKey>(std::move(*public_key));
  key_ = std::make_shared<const snapshot::Key>(std::move(key));
  return Ok();
}

Result<store::Store::LedgerKey> CheckpointKey::Make() {
  const auto facts = tokens_.Facts();
  const bool ready = std::any_of(facts.begin(), facts.end(), [&](const tokens::TokenFacts& one) {
    return one.name == token_ && one.status.state == link::TokenState::kReady;
  });
  if (!ready) return MakeError(Reason::kTokenDown, "the token " + token_ + " is not ready");
  const Status can = signer_.CanMake(token_, dkim::Algorithm::kEd25519Sha256);
  if (!can) {
    return MakeError(Reason::kTokenRefused, can.error().message +
                                                ", and checkpoints are signed with one: name another token as "
                                                "ledger.token in hallmark.toml, and restart");
  }
  Bytes id(kIdOctets);
  if (RAND_bytes(id.data(), static_cast<int>(id.size())) != 1) {
    return MakeError(Reason::kInternal, "OpenSSL has no random octets");
  }
  const auto made = signer_.Generate(token_, {dkim::Algorithm::kEd25519Sha256, 0}, id, kLabel);
  if (!made) return made.error();
  if (!made->sensitive || made->extractable) {
    return MakeError(Reason::kTokenRefused, "the token made a key that can leave it");
  }
  store::Store::LedgerKey row{token_, id, made->spki};
  const Status kept = store_.InsertLedgerKey(row);
  if (!kept) return kept.error();
  return row;
}

Result<Bytes> CheckpointKey::Sign(const std::string& text) {
  auto promise = std::make_shared<std::promise<Result<Bytes>>>();
  auto answer = promise->get_future();
  tokens::Signing signing{key_,
                          {},
                          &text,
                          std::chrono::steady_clock::now() + kWait,
                          tokens::Flow{"operators"},
                          nullptr,
                          [promise](Result<Bytes> signature) { promise->set_value(std::move(signature)); },
                          true};
  std::vector<tokens::Signing> batch;
  batch.push_back(std::move(signing));
  tokens_.Sign(std::move(batch));
  return answer.get();
}

Result<ledger::VerifierKey> RecordedVerifierKey(store::Store& store, const std::string& origin) {
  const auto row = store.GetLedgerKey();
  if (!row) return row.error();
  if (!*row) return MakeError(Reason::kNotFound, "no checkpoint has been signed yet; try again in some seconds");
  const auto key = dkim::PublicKey::FromSpki((*row)->spki);
  if (!key) return key.error();
  const Bytes raw = key->RecordData();
  ledger::VerifierKey verifier{origin, {}};
  if (raw.size() != verifier.key.size()) {
    return MakeError(Reason::kStorageFailed, "the ledger's recorded key is not of Ed25519");
  }
  std::copy(raw.begin(), raw.end(), verifier.key.begin());
  return verifier;
}

}  // namespace hallmark
