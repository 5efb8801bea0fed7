#include "signerd/keys/key_manager.h"

#include <openssl/rand.h>

#include <optional>
#include <thread>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/log.h"
#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/author.h"
#include "signerd/keys/noted_pairs.h"
#include "signerd/keys/records.h"
#include "signerd/keys/rotation_policy.h"

namespace hallmark::keys {
namespace {

constexpr std::size_t kIdOctets = 16;

// "r20260131": the date says when it was made, and sorts.
std::string DatedSelector(dkim::Algorithm algorithm, std::chrono::sys_seconds now) {
  return std::string(dkim::InfoOf(algorithm).letter) + DateText(now);
}

std::string KeyName(const std::string& domain, const std::string& selector) {
  return selector + "._domainkey." + domain;
}

// What an operator can do about a token that makes no such keys.
Error WithAdvice(Error error, dkim::Algorithm algorithm) {
  switch (algorithm) {
    case dkim::Algorithm::kRsaSha256:
      error.message +=
          ": make one with the token's own tools and take it up with dkimctl key adopt, or name another token with "
          "--token";
      break;
    case dkim::Algorithm::kEd25519Sha256:
      error.message += ": make an RSA key there (--algorithm rsa2048), or name a token that makes them with --token";
      break;
  }
  return error;
}

// What may not sign, whatever the table of transitions says of its state.
Status CheckFate(const store::KeyLife& life) {
  const std::string name = KeyName(life.key.domain, life.key.selector);
  switch (life.fate) {
    case store::Fate::kNone: return Ok();
    case store::Fate::kAbandoned:
      return MakeError(Reason::kStateConflict, name + " was given up, and its record goes: " +
                                                   (life.set == 0 ? "make another key" : "begin another rotation"));
    case store::Fate::kSuspected:
    case store::Fate::kCompromised:
      return MakeError(Reason::kStateConflict, name + " is said to be compromised: it is not signed with again");
  }
  return MakeError(Reason::kInternal, name + " has an unknown fate");
}

// Whether enough of the domain's keys sign once this one does not. Ed25519 alone is no signature to many receivers
// (RFC 8463 section 4); where no RSA key signs already, that is not made worse.
Status CheckWhatStays(const store::DomainLife& life, const std::string& selector) {
  const snapshot::Key* leaving = nullptr;
  bool any = false, rsa = false;
  for (const store::KeyLife& key : life.keys) {
    if (key.key.state != snapshot::KeyState::kActive) continue;
    if (key.key.selector == selector) {
      leaving = &key.key;
      continue;
    }
    any = true;
    rsa = rsa || key.key.public_key->algorithm() == dkim::Algorithm::kRsaSha256;
  }
  if (leaving == nullptr || rsa) return Ok();
  const std::string advice = "; activate another first, or say that it may";
  if (!any) {
    return MakeError(Reason::kStateConflict,
                     selector + " is the last active key of " + life.domain + ": its mail would be refused" + advice);
  }
  if (leaving->public_key->algorithm() != dkim::Algorithm::kRsaSha256) return Ok();
  return MakeError(Reason::kStateConflict, selector + " is the last active RSA key of " + life.domain +
                                               ": many receivers do not verify Ed25519, and would take its mail for "
                                               "unsigned" +
                                               advice);
}

// Made by hand, imported or adopted, and it never signed: no rotation has it, and no verifier needs to be told.
bool MayBeGivenUp(const store::KeyLife& life) {
  return life.key.state == snapshot::KeyState::kGenerated && life.set == 0 && life.fate == store::Fate::kNone;
}

// A token's process that ended is started again within a moment, and until then calls are refused.
constexpr int kMostTries = 4;
constexpr std::chrono::milliseconds kBetweenTries{500};
// How long an operator's act waits for a step that is being made.
constexpr std::chrono::seconds kLockWait{3};

Error Busy(const std::string& domain) {
  return MakeError(Reason::kStateConflict, "a step of the rotation of " + domain + " is made: try again");
}

}  // namespace

Result<Bytes> NewCkaId() {
  Bytes id(kIdOctets);
  if (RAND_bytes(id.data(), static_cast<int>(id.size())) == 1) return id;
  return MakeError(Reason::kInternal, "no random octets for the key's CKA_ID");
}

Result<std::shared_ptr<const dkim::PublicKey>> UsablePublicKey(const TokenKey& described) {
  auto public_key = dkim::PublicKey::FromSpki(described.spki);
  if (!public_key) return public_key.error();
  const dkim::AlgorithmInfo& info = dkim::InfoOf(public_key->algorithm());
  if (public_key->bits() < info.minimum_signing_bits) {
    return MakeError(Reason::kInvalidArgument, std::string(info.name) + " needs a key of at least " +
                                                   std::to_string(info.minimum_signing_bits) + " bits; this one has " +
                                                   std::to_string(public_key->bits()));
  }
  if (described.extractable || !described.sensitive) {
    return MakeError(Reason::kTokenRefused,
                     "the private key can leave the token (CKA_EXTRACTABLE or not CKA_SENSITIVE): "
                     "make one that cannot");
  }
  return std::make_shared<const dkim::PublicKey>(std::move(*public_key));
}

Result<std::string> KeyManager::ChooseSelector(const std::string& domain, const std::string& wanted,
                                               dkim::Algorithm algorithm) {
  if (!wanted.empty()) {
    const Status valid = dkim::ValidateSelector(wanted);
    if (!valid) return valid.error();
    const auto taken = store_.SelectorTaken(domain, wanted);
    if (!taken) return taken.error();
    if (*taken) return MakeError(Reason::kAlreadyExists, "the selector " + wanted + " was used before: choose another");
    return wanted;
  }
  const std::string dated = DatedSelector(algorithm, clock_.Now());
  for (char letter = 'a' - 1; letter <= 'z'; ++letter) {
    const std::string selector = letter < 'a' ? dated : dated + letter;
    const auto taken = store_.SelectorTaken(domain, selector);
    if (!taken) return taken.error();
    if (!*taken) return selector;
  }
  return MakeError(Reason::kAlreadyExists, "the selectors " + dated + " to " + dated + "z are used: name one");
}

Result<std::string> KeyManager::ChooseToken(const std::string& wanted) const {
  const std::string token = wanted.empty() ? signer_.DefaultToken() : wanted;
  if (!signer_.HasToken(token))
    return MakeError(Reason::kNotFound,
                     "there is no token " + token + " in the configuration; where it is one of a group, name that");
  return token;
}

Status KeyManager::CheckMaking() const {
  if (making_) return Ok();
  return MakeError(Reason::kShuttingDown, "a factory reset destroys all keys: none is made, imported or adopted");
}

Result<snapshot::Key> KeyManager::Generate(const std::string& domain, const std::string& selector, const KeySpec& spec,
                                           const std::string& token) {
  const auto exists = store_.GetDomain(domain);
  if (!exists) return exists.error();
  const auto chosen = ChooseSelector(domain, selector, spec.algorithm);
  if (!chosen) return chosen.error();
  const auto where = ChooseToken(token);
  if (!where) return where.error();

  const Status can = signer_.CanMake(*where, spec.algorithm);
  if (!can) return WithAdvice(can.error(), spec.algorithm);

  snapshot::Key key;
  key.domain = domain;
  key.selector = *chosen;
  key.token = *where;
  auto id = NewCkaId();
  if (!id) return id.error();
  key.cka_id = std::move(*id);
  return Make(key, [&] { return signer_.Generate(*where, spec, key.cka_id, KeyName(domain, *chosen)); });
}

Result<snapshot::Key> KeyManager::Make(const snapshot::Key& key, const std::function<Result<TokenKey>()>& put) {
  const Status making = CheckMaking();
  if (!making) return making.error();
  const Status cleared = ClearNoted(key.domain, key.selector);
  if (!cleared) return cleared.error();
  const auto members = MembersWithRoom(key);
  if (!members) return members.error();
  const Status noted = NotePair(store_, {key.domain, key.selector, key.token, key.cka_id}, clock_.Now());
  if (!noted) return noted.error();
  const auto described = put();
  auto made = described ? Record(key, *described) : Result<snapshot::Key>(described.error());
  // Where the call failed the pair may be there all the same: the token's process may have ended with it made.
  Status gone = made ? Ok() : DestroyUnrecorded(signer_, *members, key.cka_id);
  for (int tries = 0; !gone && gone.error().reason == Reason::kTokenDown && tries < kMostTries; ++tries) {
    std::this_thread::sleep_for(kBetweenTries);
    gone = DestroyUnrecorded(signer_, *members, key.cka_id);
  }
  if (!gone) {
    Error error = made.error();
    error.message += "; its pair may be left in token " + key.token + " with CKA_ID " + HexEncode(key.cka_id) +
                     ", and the next try with this selector destroys it: " + gone.error().message;
    return error;
  }
  const Status forgotten = store_.ForgetPlanned(key.domain, key.selector);
  if (!forgotten) {
    log::error("{}: the note of a pair in token {} stays: {}", KeyName(key.domain, key.selector), key.token,
               forgotten.error().message);
  }
  return made;
}

Status KeyManager::ClearNoted(const std::string& domain, const std::string& selector) {
  const auto pair = NotedPairOf(store_, domain, selector);
  if (!pair) return pair.error();
  if (!*pair) return Ok();
  snapshot::Key left;  // of no domain: whoever uses it is another one
  left.token = (*pair)->token;
  left.cka_id = (*pair)->cka_id;
  const std::string what = "a pair with CKA_ID " + HexEncode(left.cka_id) + " in token " + left.token;
  const auto users = store_.CountOthers(left);
  if (!users) return users.error();
  if (!signer_.HasToken(left.token)) {
    log::warn("{}: an earlier try may have left {}, which is not configured any more", KeyName(domain, selector), what);
  } else if (*users == 0) {
    const Status gone = DestroyUnrecorded(signer_, signer_.MembersOf(left.token), left.cka_id);
    if (!gone) {
      Error error = gone.error();
      error.message = "an earlier try may have left " + what + ", which must be destroyed first: " + error.message;
      return error;
    }
  }
  return store_.ForgetPlanned(domain, selector);
}

Result<std::vector<std::string>> KeyManager::MembersWithRoom(const snapshot::Key& key) {
  std::vector<std::string> members;
  std::optional<Error> error;
  for (const std::string& member : signer_.MembersOf(key.token)) {
    const auto found = signer_.Find(member, key.cka_id);
    if (found) return MakeError(Reason::kInternal, "token " + member + " has a pair with the new CKA_ID already");
    if (found.error().reason == Reason::kKeyMissing) {
      members.push_back(member);
    } else if (!error) {
      error = found.error();
    }
  }
  if (members.empty()) return *error;
  return members;
}

Result<snapshot::Key> KeyManager::Adopt(const std::string& domain, const std::string& selector,
                                        const std::string& token, const Bytes& cka_id) {
  const Status making = CheckMaking();
  if (!making) return making.error();
  const auto exists = store_.GetDomain(domain);
  if (!exists) return exists.error();
  if (selector.empty()) return MakeError(Reason::kInvalidArgument, "name the selector of the key");
  if (cka_id.empty()) return MakeError(Reason::kInvalidArgument, "name the CKA_ID of the key");
  const auto chosen = ChooseSelector(domain, selector, dkim::Algorithm::kRsaSha256);
  if (!chosen) return chosen.error();
  const auto where = ChooseToken(token);
  if (!where) return where.error();
  std::unique_lock pairs(locks_.pairs, std::defer_lock);
  if (!pairs.try_lock_for(kLockWait)) return MakeError(Reason::kStateConflict, "a pair is being destroyed: try again");
  const auto described = signer_.Find(*where, cka_id);
  if (!described) return described.error();
  // Each copy: one that can leave its token gives away the others.
  for (const std::string& member : signer_.MembersOf(*where)) {
    const auto copy = signer_.Find(member, cka_id);
    if (!copy) continue;
    const auto usable = UsablePublicKey(*copy);
    if (!usable) return MakeError(usable.error().reason, "token " + member + ": " + usable.error().message);
  }
  const auto ledger_key = store_.GetLedgerKey();
  if (!ledger_key) return ledger_key.error();
  if (*ledger_key && (*ledger_key)->spki == described->spki) {
    return MakeError(
        Reason::kStateConflict,
        "this pair signs the ledger's checkpoints, and the domain's rotation would destroy it: make another");
  }
  snapshot::Key key;
  key.domain = domain;
  key.selector = *chosen;
  key.token = *where;
  key.cka_id = cka_id;
  return Record(std::move(key), *described);
}

Result<snapshot::Key> KeyManager::Record(snapshot::Key key, const TokenKey& described) {
  auto public_key = UsablePublicKey(described);
  if (!public_key) return public_key.error();
  key.public_key = std::move(*public_key);
  key.state = snapshot::KeyState::kGenerated;
  key.created = key.state_since = clock_.Now();
  const Status inserted = store_.InsertKey(key);
  if (!inserted) return inserted.error();
  return key;
}

Result<snapshot::Key> KeyManager::Activate(const std::string& domain, const std::string& selector,
                                           const std::string& by) {
  auto key = store_.GetKey(domain, selector);
  if (!key) return key;
  // A key that cannot sign here and now must not become one that mail depends on.
  const auto signature = signer_.Sign(std::make_shared<const snapshot::Key>(*key), "Hallmark");
  if (!signature) return signature.error();
  return Change(domain, selector, Act::kActivate, by);
}

Result<snapshot::Key> KeyManager::Retire(const std::string& domain, const std::string& selector, bool allow_last,
                                         const std::string& by) {
  const auto guard = locks_.Acquire(domain, kLockWait);
  if (!guard) return Busy(domain);
  if (!allow_last) {
    const auto life = store_.GetDomainLife(domain);
    if (!life) return life.error();
    const Status enough = CheckWhatStays(*life, selector);
    if (!enough) return enough.error();
  }
  return ChangeHeld(domain, selector, Act::kRetire, by);
}

Status KeyManager::CanRevoke(const std::string& domain, const std::string& selector) {
  const auto life = store_.GetKeyLife(domain, selector);
  if (!life) return life.error();
  if (MayBeGivenUp(*life)) return Ok();
  if (life->key.state == snapshot::KeyState::kGenerated) {
    return MakeError(Reason::kStateConflict,
                     KeyName(domain, selector) + (life->fate == store::Fate::kAbandoned
                                                      ? " was given up already: its pair goes when its time has come"
                                                      : " is a rotation's: dkimctl key rollback " + domain));
  }
  const auto next = StateAfter(life->key, Act::kRevoke);
  return next ? Ok() : Status(next.error());
}

Result<snapshot::Key> KeyManager::Revoke(const std::string& domain, const std::string& selector,
                                         const std::string& by) {
  const auto guard = locks_.Acquire(domain, kLockWait);
  if (!guard) return Busy(domain);
  const auto life = store_.GetKeyLife(domain, selector);
  if (!life) return life.error();
  return MayBeGivenUp(*life) ? GiveUp(*life, by) : ChangeHeld(domain, selector, Act::kRevoke, by);
}

Result<snapshot::Key> KeyManager::GiveUp(store::KeyLife life, const std::string& by) {
  const auto now = clock_.Now();
  const std::string state(StateName(life.key.state));
  life.fate = store::Fate::kAbandoned;
  store::RotationCommit commit;
  commit.domain = life.key.domain;
  commit.events.push_back({0, life.key.domain, life.key.selector, "key", state, "GIVEN_UP", now, now, by, ""});
  commit.keys.push_back({life, life.key.state});
  const Status kept = store_.CommitRotation(commit);
  if (!kept) return kept.error();
  return life.key;
}

Result<snapshot::Key> KeyManager::Change(const std::string& domain, const std::string& selector, Act act,
                                         const std::string& by) {
  const auto guard = locks_.Acquire(domain, kLockWait);
  return guard ? ChangeHeld(domain, selector, act, by) : Busy(domain);
}

Result<snapshot::Key> KeyManager::ChangeHeld(const std::string& domain, const std::string& selector, Act act,
                                             const std::string& by) {
  auto life = store_.GetKeyLife(domain, selector);
  if (!life) return life.error();
  snapshot::Key& key = life->key;
  const snapshot::KeyState from = key.state;
  const auto next = StateAfter(key, act);
  if (!next) return next.error();
  if (act == Act::kActivate) {
    const Status allowed = CheckFate(*life);
    if (!allowed) return allowed.error();
    // Once a step is announced, its record may be changed already.
    const auto going = store_.IsPlanned(domain, selector, std::string(StateName(snapshot::KeyState::kRevoked)));
    if (!going) return going.error();
    if (*going) return MakeError(Reason::kStateConflict, KeyName(domain, selector) + " is being revoked");
  }
  const auto now = clock_.Now();
  key.state = *next;
  key.state_since = now;
  if (act == Act::kRevoke) {
    key.record = snapshot::RecordState::kUnretentive;
    if (life->publisher.empty()) {  // made by hand: the rotation revokes its record where the policy says
      const auto policy = PolicyOf(store_, domain);
      if (!policy) return policy.error();
      life->publisher = policy->publisher;
      life->published_name = PublishedName(key, *policy);
    }
  }
  store::RotationCommit commit;
  commit.domain = domain;
  commit.events.push_back(
      {0, domain, selector, "key", std::string(StateName(from)), std::string(StateName(*next)), now, now, by, ""});
  commit.keys.push_back({*life, from});
  const Status changed = store_.CommitRotation(commit);
  if (!changed) return changed.error();
  const Status published = publish_();
  if (!published) return published.error();
  return key;
}

}  // namespace hallmark::keys
