#include "signerd/checkpoint_key.h"

#include <openssl/rand.h>

#include <algorithm>
#include <future>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"

namespace hallmark {
namespace {

constexpr char kLabel[] = "hallmark-ledger";
constexpr std::size_t kIdOctets = 16;
constexpr std::chrono::seconds kWait{10};

Result<std::shared_ptr<const snapshot::Key>> ToKey(const store::Store::LedgerKey& row) {
  auto public_key = dkim::PublicKey::FromSpki(row.spki);
  if (!public_key) return public_key.error();
  snapshot::Key key;
  key.selector = kLabel;
  key.token = row.token;
  key.cka_id = row.cka_id;
  key.public_key = std::make_shared<const dkim::PublicKey>(std::move(*public_key));
  return std::make_shared<const snapshot::Key>(std::move(key));
}

Result<std::array<std::uint8_t, 32>> RawKey(const dkim::PublicKey& key) {
  const Bytes octets = key.RecordData();
  std::array<std::uint8_t, 32> raw{};
  if (octets.size() != raw.size()) {
    return MakeError(Reason::kStorageFailed, "the ledger's recorded key is not of Ed25519");
  }
  std::copy(octets.begin(), octets.end(), raw.begin());
  return raw;
}

Result<ledger::VerifierKey> VerifierKeyOf(const Bytes& spki, const std::string& origin) {
  const auto key = dkim::PublicKey::FromSpki(spki);
  if (!key) return key.error();
  const auto raw = RawKey(*key);
  if (!raw) return raw.error();
  return ledger::VerifierKey{origin, *raw};
}

// The same, as the log that it signs for.
Result<ledger::VerifierKey> VerifierKeyOf(const Bytes& spki, const std::filesystem::path& ledger_directory,
                                          const std::string& origin) {
  auto key = VerifierKeyOf(spki, origin);
  if (!key) return key;
  const auto kept = ledger::KeptOrigin(ledger_directory, key->key, origin);
  if (!kept) return kept.error();
  key->name = *kept;
  return key;
}

Result<ledger::VerifierKeys> PastVerifierKeys(store::Store& store) {
  const auto rows = store.ListPastLedgerKeys();
  if (!rows) return rows.error();
  ledger::VerifierKeys keys;
  for (const auto& row : *rows) {
    auto key = VerifierKeyOf(row.spki, row.origin);
    if (!key) return key.error();
    keys.push_back(std::move(*key));
  }
  return keys;
}

}  // namespace

Result<std::array<std::uint8_t, 32>> CheckpointKey::PublicKey() {
  const Status found = Find();
  if (!found) return found.error();
  return RawKey(*key_->public_key);
}

Result<ledger::VerifierKeys> CheckpointKey::PastKeys() { return PastVerifierKeys(store_); }

Status CheckpointKey::Find() {
  if (key_ != nullptr) return Ok();
  const auto recorded = store_.GetLedgerKey();
  if (!recorded) return recorded.error();
  const auto row = *recorded ? Replace(**recorded) : Generate();
  if (!row) return row.error();
  if (!*recorded) {
    const Status kept = store_.InsertLedgerKey(*row);
    if (!kept) return kept;
  }
  auto key = ToKey(*row);
  if (!key) return key.error();
  key_ = std::move(*key);
  return Ok();
}

Result<store::Store::LedgerKey> CheckpointKey::Replace(const store::Store::LedgerKey& recorded) {
  std::error_code failed;
  if (!take_over_ || !std::filesystem::exists(take_over_->permission, failed)) return recorded;
  const auto found = tokens_.Has(recorded.token)
                         ? signer_.Find(recorded.token, recorded.cka_id)
                         : MakeError(Reason::kKeyMissing, "the token is not in the configuration any more");
  if (!found && found.error().reason != Reason::kKeyMissing) return found.error();
  auto key = found ? Result<store::Store::LedgerKey>(recorded) : Generate();
  if (!key) return key;
  if (!found) {
    hallmark::ledger::v1::Record record;
    auto& act = *record.mutable_admin_act();
    act.set_method("ReplaceLedgerKey");
    act.set_request(R"({"past_key":")" + Base64Encode(recorded.spki) + R"(","key":")" + Base64Encode(key->spki) +
                    R"("})");
    act.set_outcome("OK");
    act.set_count(1);
    // As which log the lost key signed: the box may have another name now.
    const auto past = VerifierKeyOf(recorded.spki, take_over_->ledger_directory, take_over_->origin);
    if (!past) return past.error();
    Status done = take_over_->journal(record);
    if (done) done = store_.ReplaceLedgerKey(*key, past->name);
    if (!done) return done.error();
    log::warn(
        "ledger: token {} has no longer the key that signed the checkpoints: a new one signs from now on; give "
        "its verifier key to whoever verifies the ledger",
        recorded.token);
  }
  if (!std::filesystem::remove(take_over_->permission, failed)) {
    log::warn("{} cannot be deleted: {}", take_over_->permission.string(), failed.message());
  }
  return key;
}

Result<store::Store::LedgerKey> CheckpointKey::Generate() {
  const auto facts = tokens_.Facts();
  const bool ready = std::any_of(facts.begin(), facts.end(), [&](const tokens::TokenFacts& one) {
    return one.group == token_ && one.status.state == link::TokenState::kReady;
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
  return store::Store::LedgerKey{token_, id, made->spki};
}

Result<Bytes> CheckpointKey::Sign(const std::string& text) {
  auto promise = std::make_shared<std::promise<Result<tokens::Made>>>();
  auto answer = promise->get_future();
  tokens::Signing signing{key_,
                          {},
                          &text,
                          std::chrono::steady_clock::now() + kWait,
                          tokens::Flow{"operators"},
                          nullptr,
                          [promise](Result<tokens::Made> made) { promise->set_value(std::move(made)); },
                          true};
  std::vector<tokens::Signing> batch;
  batch.push_back(std::move(signing));
  tokens_.Sign(std::move(batch));
  auto made = answer.get();
  if (!made) return made.error();
  return std::move(made->signature);
}

Result<std::shared_ptr<const snapshot::Key>> RecordedCheckpointKey(store::Store& store) {
  const auto row = store.GetLedgerKey();
  if (!row) return row.error();
  return *row ? ToKey(**row) : Result<std::shared_ptr<const snapshot::Key>>(nullptr);
}

Result<ledger::VerifierKeys> RecordedVerifierKeys(store::Store& store, const std::filesystem::path& ledger_directory,
                                                  const std::string& origin) {
  const auto row = store.GetLedgerKey();
  if (!row) return row.error();
  if (!*row) return MakeError(Reason::kNotFound, "no checkpoint has been signed yet; try again in some seconds");
  auto keys = PastVerifierKeys(store);
  if (!keys) return keys;
  auto key = VerifierKeyOf((*row)->spki, ledger_directory, origin);
  if (!key) return key.error();
  keys->push_back(std::move(*key));
  return keys;
}

}  // namespace hallmark
