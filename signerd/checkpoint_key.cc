#include "signerd/checkpoint_key.h"

#include <algorithm>
#include <future>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"
#include "signerd/keys/noted_pairs.h"

namespace hallmark {
namespace {

constexpr char kLabel[] = "hallmark-ledger";
constexpr char kNoDomain[] = "";  // of its note in the store
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
  const Status cleared = ClearNoted();
  if (!cleared) return cleared;
  const auto recorded = store_.GetLedgerKey();
  if (!recorded) return recorded.error();
  const auto row =
      *recorded ? Replace(**recorded) : Make([this](const auto& made) { return store_.InsertLedgerKey(made); });
  if (!row) return row.error();
  auto key = ToKey(*row);
  if (!key) return key.error();
  key_ = std::move(*key);
  return Ok();
}

Result<store::Store::LedgerKey> CheckpointKey::Replace(const store::Store::LedgerKey& recorded) {
  std::error_code failed;
  if (!take_over_ || !std::filesystem::exists(take_over_->permission, failed)) return recorded;
  const auto found = signer_.HasToken(recorded.token)
                         ? signer_.Find(recorded.token, recorded.cka_id)
                         : MakeError(Reason::kKeyMissing, "the token is not in the configuration any more");
  if (!found && found.error().reason != Reason::kKeyMissing) return found.error();
  auto key = found ? Result<store::Store::LedgerKey>(recorded)
                   : Make([&](const auto& made) { return RecordReplaced(recorded, made); });
  if (!key) return key;
  if (!std::filesystem::remove(take_over_->permission, failed)) {
    log::warn("{} cannot be deleted: {}", take_over_->permission.string(), failed.message());
  }
  return key;
}

Status CheckpointKey::RecordReplaced(const store::Store::LedgerKey& past, const store::Store::LedgerKey& key) {
  // As which log the lost key signed: the box may have another name now.
  const auto verifier = VerifierKeyOf(past.spki, take_over_->ledger_directory, take_over_->origin);
  if (!verifier) return verifier.error();
  hallmark::ledger::v1::Record record;
  auto& act = *record.mutable_admin_act();
  act.set_method("ReplaceLedgerKey");
  act.set_request(R"({"past_key":")" + Base64Encode(past.spki) + R"(","key":")" + Base64Encode(key.spki) + R"("})");
  act.set_outcome("OK");
  act.set_count(1);
  Status done = take_over_->journal(record);
  if (done) done = store_.ReplaceLedgerKey(key, verifier->name);
  if (!done) return done;
  log::warn(
      "ledger: token {} has no longer the key that signed the checkpoints: a new one signs from now on; give "
      "its verifier key to whoever verifies the ledger",
      past.token);
  return Ok();
}

// What a crash or a failure leaves in the token is noted before, so that the next try does not make one more.
Result<store::Store::LedgerKey> CheckpointKey::Make(const Record& record) {
  const auto id = keys::NewCkaId();
  if (!id) return id.error();
  store::Store::LedgerKey key{token_, *id, {}};
  // Nothing is noted for a token that does not answer. One that is starting has answered before it is asked what it
  // makes.
  const auto there = signer_.Find(token_, key.cka_id);
  if (there) return MakeError(Reason::kInternal, "token " + token_ + " has a pair with the new CKA_ID already");
  if (there.error().reason != Reason::kKeyMissing) return there.error();
  const Status can = signer_.CanMake(token_, dkim::Algorithm::kEd25519Sha256);
  if (!can) {
    return MakeError(Reason::kTokenRefused, can.error().message +
                                                ", and checkpoints are signed with one: name another token as "
                                                "ledger.token in hallmark.toml, and restart");
  }
  Status done = keys::NotePair(store_, {kNoDomain, kLabel, token_, key.cka_id}, clock_.Now());
  if (!done) return done.error();
  const auto made = signer_.Generate(token_, {dkim::Algorithm::kEd25519Sha256, 0}, key.cka_id, kLabel);
  if (!made) {
    done = made.error();
  } else if (!made->sensitive || made->extractable) {
    done = MakeError(Reason::kTokenRefused, "the token made a key that can leave it");
  } else {
    key.spki = made->spki;
    done = record(key);
  }
  const Status cleared = ClearNoted();
  if (done && !cleared) log::warn("ledger: the note of its key stays: {}", cleared.error().message);
  if (done) return key;
  Error error = done.error();
  if (!cleared) error.message += "; " + cleared.error().message;
  return error;
}

Status CheckpointKey::ClearNoted() {
  const auto pair = keys::NotedPairOf(store_, kNoDomain, kLabel);
  if (!pair) return pair.error();
  if (!*pair) return Ok();
  const std::string& token = (*pair)->token;
  const std::string what = "a pair for the ledger with CKA_ID " + HexEncode((*pair)->cka_id) + " in token " + token;
  const auto recorded = store_.GetLedgerKey();
  if (!recorded) return recorded.error();
  const bool used = *recorded && (*recorded)->token == token && (*recorded)->cka_id == (*pair)->cka_id;
  if (!used && !signer_.HasToken(token)) {
    log::warn("an earlier try may have left {}, which is not configured any more", what);
  } else if (!used) {
    const Status gone = keys::DestroyUnrecorded(signer_, signer_.MembersOf(token), (*pair)->cka_id);
    if (!gone) {
      return MakeError(gone.error().reason,
                       what + " may be left, and the next try destroys it: " + gone.error().message);
    }
  }
  return store_.ForgetPlanned(kNoDomain, kLabel);
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
