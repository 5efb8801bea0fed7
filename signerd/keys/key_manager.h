#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/keys/domain_locks.h"
#include "signerd/keys/transitions.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/store/store.h"

namespace hallmark::keys {

struct KeySpec {
  dkim::Algorithm algorithm = dkim::Algorithm::kRsaSha256;
  unsigned bits = 2048;  // RSA only
};

// A pair in a token, as the token describes it.
struct TokenKey {
  Bytes spki;  // SubjectPublicKeyInfo, DER
  bool sensitive = false;
  bool extractable = true;
};

// A token, and the RSA public key (SubjectPublicKeyInfo) that private keys are wrapped for on their way into it.
struct WrappingKey {
  std::string token;
  Bytes spki;
};

// What is needed to import into a token, or into each of a group.
struct ImportPlan {
  std::string token;  // or group
  std::vector<WrappingKey> members;
  std::vector<std::pair<std::string, std::string>> unable;  // members that cannot take a key now, and why
};

// A private key on its way into a token; what of it is wrapped can only be read there.
struct WrappedKey {
  Bytes wrapping_key_sha256;  // of WrappingKey::spki
  Bytes secret, key;          // hallmark.admin.v1.ImportKeyRequest says how they are wrapped
  Bytes spki;                 // the public part
  std::string token;          // which one of a group; empty: the token that is named beside it
};

// What keys needs of the tokens; main.cc supplies it. Calls wait for the token; any thread. A token is what keys name:
// a token alone, or a group of tokens that hold the same keys. Find, BeginImport, Import and Destroy also take one of a
// group.
class Signer {
 public:
  virtual ~Signer() = default;
  virtual bool HasToken(const std::string& token) const = 0;
  // The tokens of a group; a token alone has itself.
  virtual std::vector<std::string> MembersOf(const std::string& token) const { return {token}; }
  // The name of the token that is used where none is named.
  virtual std::string DefaultToken() const = 0;
  // kTokenRefused where the token said that it makes no such keys; success where it said nothing.
  virtual Status CanMake(const std::string& token, dkim::Algorithm algorithm) const = 0;
  // In one of a group: the others have it when it was copied there, by the vendor's means.
  virtual Result<TokenKey> Generate(const std::string& token, const KeySpec& spec, const Bytes& cka_id,
                                    const std::string& label) = 0;
  // Of a group: in any; kKeyMissing where one that answers has it not and none has it.
  virtual Result<TokenKey> Find(const std::string& token, const Bytes& cka_id) = 0;
  virtual Result<Bytes> BeginImport(const std::string& token) = 0;
  // kStateConflict where it was wrapped for an earlier wrapping key, kInvalidArgument where it does not unwrap,
  // kKeyMismatch where the public part is another's. Nothing is left in the token then.
  virtual Result<TokenKey> Import(const std::string& token, const WrappedKey& wrapped, const Bytes& cka_id,
                                  const std::string& label) = 0;
  // Destroys both objects of the pair for good, if its public part is `spki`: kKeyMismatch otherwise. Success where the
  // pair, or one of its objects, is not there: so it can be repeated. Of a group: in all, so each must answer. Without
  // `spki`: what is left of a pair that has no private object.
  virtual Status Destroy(const std::string& token, const Bytes& cka_id, const Bytes& spki) = 0;
  // Signs the SHA-256 of `text`. The signature is verified with key.public_key before it is given.
  virtual Result<Bytes> Sign(std::shared_ptr<const snapshot::Key> key, const std::string& text) = 0;
};

// The parsed public part of a pair that may sign: large enough, and its private part cannot leave the token.
Result<std::shared_ptr<const dkim::PublicKey>> UsablePublicKey(const TokenKey& described);
// Random.
Result<Bytes> NewCkaId();

// What operators do to single keys; rotator.h has what happens by itself. Each call is persisted before it returns, and
// publishes a new snapshot. Any thread: what changes a domain's keys holds its
// lock. Errors: kNotFound, kAlreadyExists, kStateConflict,
// kInvalidArgument, the token's and the store's.
class KeyManager {
 public:
  // `publish` makes and swaps in a snapshot of the store.
  KeyManager(store::Store& store, Signer& signer, const Clock& clock, std::function<Status()> publish)
      : store_(store), signer_(signer), clock_(clock), publish_(std::move(publish)) {}

  // An empty selector is made from the algorithm and the date; an empty token is the default one.
  Result<snapshot::Key> Generate(const std::string& domain, const std::string& selector, const KeySpec& spec,
                                 const std::string& token);
  Result<snapshot::Key> Adopt(const std::string& domain, const std::string& selector, const std::string& token,
                              const Bytes& cka_id);
  // What a private key has to be wrapped for; good until the token's process ends.
  Result<ImportPlan> BeginImport(const std::string& token);
  // Puts a private key into the token, or a copy into each of a group, one at least. GENERATED, and exposed: it was
  // outside. Errors of Signer::Import too.
  Result<snapshot::Key> Import(const std::string& domain, const std::string& selector, const std::string& token,
                               const std::vector<WrappedKey>& copies);
  // Those of the key's group that answered, and do not have it.
  std::vector<std::string> TokensWithout(const snapshot::Key& key);
  // `by`, here and below: who is named in the key's history.
  Result<snapshot::Key> Activate(const std::string& domain, const std::string& selector, const std::string& by);
  // Unless `allow_last`, refuses the domain's last active key, and its last active RSA key where Ed25519 stays.
  Result<snapshot::Key> Retire(const std::string& domain, const std::string& selector, bool allow_last,
                               const std::string& by);
  // kStateConflict, with a sentence, where Revoke would be refused.
  Status CanRevoke(const std::string& domain, const std::string& selector);
  // For good. A key made by hand that never signed is given up: the rotation withdraws it, and destroys its pair.
  Result<snapshot::Key> Revoke(const std::string& domain, const std::string& selector, const std::string& by);

  // From here on Generate, Adopt and Import bring no key into a token: kShuttingDown. Whether they did until now. Waits
  // for none that is under way.
  bool StopMaking() { return making_.exchange(false); }
  void ResumeMaking() { making_ = true; }

  // Shared with the rotation, so that no key is changed from two sides.
  DomainLocks& locks() { return locks_; }

 private:
  Result<std::string> ChooseSelector(const std::string& domain, const std::string& wanted, dkim::Algorithm algorithm);
  Result<std::string> ChooseToken(const std::string& wanted) const;
  Status CheckMaking() const;
  Result<TokenKey> ImportCopies(const snapshot::Key& key, const std::vector<WrappedKey>& copies);
  // Has `put` put the pair that `key` names into its token, and records it. A pair that is not recorded does not stay
  // there, or is noted (noted_pairs.h).
  Result<snapshot::Key> Make(const snapshot::Key& key, const std::function<Result<TokenKey>()>& put);
  // Destroys what an earlier try with this selector left in a token.
  Status ClearNoted(const std::string& domain, const std::string& selector);
  // Those of the key's group that answer, and have no pair with its CKA_ID. One at least.
  Result<std::vector<std::string>> MembersWithRoom(const snapshot::Key& key);
  Result<snapshot::Key> Record(snapshot::Key key, const TokenKey& described);
  Result<snapshot::Key> Change(const std::string& domain, const std::string& selector, Act act, const std::string& by);
  // With the domain locked.
  Result<snapshot::Key> GiveUp(store::KeyLife life, const std::string& by);
  // As Change, with the domain locked.
  Result<snapshot::Key> ChangeHeld(const std::string& domain, const std::string& selector, Act act,
                                   const std::string& by);

  store::Store& store_;
  Signer& signer_;
  const Clock& clock_;
  std::function<Status()> publish_;
  DomainLocks locks_;
  std::atomic<bool> making_{true};
};

}  // namespace hallmark::keys
