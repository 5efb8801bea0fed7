#pragma once

#include <p11-kit/pkcs11.h>

#include <atomic>
#include <memory>
#include <string>

#include "firmware/runtime/result.h"
#include "hsm/pkcs11/key_type.h"
#include "hsm/pkcs11/module.h"

namespace hallmark::pkcs11 {

// A pair of key objects. Handles are good for one login; they are found again after it.
struct KeyPair {
  CK_OBJECT_HANDLE private_key = 0;
  KeyType type = KeyType::kRsa;
  Bytes spki;  // the public part, SubjectPublicKeyInfo, DER
  unsigned bits = 0;
  bool sensitive = false, extractable = true, never_extractable = false;
  bool wants_data = false;  // RSA: CKA_ALLOWED_MECHANISMS has CKM_SHA256_RSA_PKCS and not CKM_RSA_PKCS
};

struct PrivatePart;
class WipedBytes;

// An RSA pair that keys are wrapped for. In the token, and gone with the session that made it.
struct WrappingPair {
  CK_OBJECT_HANDLE private_key = 0;
  Bytes spki;
};
inline constexpr unsigned kWrappingBits = 3072;

// A private key on its way: an AES-256 key encrypted to a wrapping pair (RSA-OAEP, SHA-1), and PKCS#8 wrapped with that
// (RFC 5649).
struct WrappedKey {
  ByteView secret, key;
};

// What a pair in the token is to be called.
struct ObjectName {
  ByteView cka_id;
  const std::string& label;
};

struct KeySpec {
  KeyType type = KeyType::kRsa;
  unsigned bits = 2048;  // RSA only: 2048, 3072 or 4096
};

// The two objects of a pair that was just made.
struct NewPair {
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
};

enum class Access : std::uint8_t { kRead, kWrite };

// One C_OpenSession. One thread at a time. After any failure but a plain refusal usable() is false: an operation may
// still be active on the token, so the session is closed and another one opened. Must not outlive `module`.
class Session {
 public:
  static Result<Session> Open(const Module& module, CK_SLOT_ID slot, Access access);
  Session(Session&& other) noexcept;
  Session& operator=(Session&&) = delete;
  ~Session();

  // For the whole process; being logged in already counts as success. kPinRejected: never try this PIN again.
  Status Login(CK_USER_TYPE user, std::string_view pin);
  Status InitializePin(std::string_view pin);
  // An error when the session is gone, or nobody is logged in.
  Status CheckLoggedIn();

  // The pair with this CKA_ID. kKeyMissing; kTokenRefused where it cannot be used unattended (CKA_ALWAYS_AUTHENTICATE)
  // or the CKA_ID names several.
  Result<KeyPair> Find(ByteView cka_id);
  // Private, sensitive, never extractable, for signing only. A public object that has this CKA_ID without a private one
  // goes; kTokenRefused where there is a private one.
  Result<KeyPair> Generate(const KeySpec& spec, const ObjectName& name);
  // The same in two steps: the long one makes a pair that lives as long as the session does, the short one copies it
  // into the token and gives the first one up, whatever comes of it.
  Result<NewPair> GenerateForSession(const KeySpec& spec, const ObjectName& name);
  Result<KeyPair> Keep(const NewPair& pair, ByteView cka_id);

  // Destroys the pair with this CKA_ID, or what a destruction that was cut short left of it. Success where there is
  // none; kKeyMismatch, and nothing is done, where its public part is not `spki`. Without `spki`: what making a pair
  // that was cut short left, a public object alone.
  Status Destroy(ByteView cka_id, ByteView spki);

  // The steps of an import; tokend's Importer puts them together. Each is kTokenRefused where the token will not or
  // cannot, and then it is well.
  Result<WrappingPair> GenerateWrappingPair();
  // Makes the private object from what is wrapped, inside the token.
  Status UnwrapPrivateKey(const WrappingPair& pair, const WrappedKey& wrapped, KeyType type, const ObjectName& name);
  // The AES key of `wrapped`, in this process's memory.
  Result<WipedBytes> DecryptSecret(const WrappingPair& pair, const WrappedKey& wrapped);
  Status CreatePrivateKey(const PrivatePart& part, const ObjectName& name);
  Status CreatePublicKey(ByteView spki, const ObjectName& name);
  // Has the pair sign something, in the way in which it is going to be used: `data` where the token hashes RSA itself.
  // kKeyMismatch where the signature does not verify with `key.spki`.
  Status Prove(const KeyPair& key, bool data);
  // kTokenRefused where there is any object with this CKA_ID.
  Status CheckFree(ByteView cka_id);
  // Whatever has this CKA_ID.
  Status DestroyAll(ByteView cka_id);

  // RSA: PKCS#1 v1.5 over SHA-256, from the 32-octet digest. Ed25519: PureEdDSA over those octets (RFC 8463 section 3).
  Result<Bytes> SignDigest(const KeyPair& key, ByteView digest);
  // RSA on a token that insists on hashing itself, or with a key that does.
  Result<Bytes> SignData(const KeyPair& key, ByteView data);

  bool usable() const { return usable_; }

 private:
  Session(const Module& module, CK_SESSION_HANDLE handle) : module_(&module), alive_(module.alive()), handle_(handle) {}
  Result<NewPair> MakePair(const KeySpec& spec, const ObjectName& name, bool in_token);
  // Destroys the public objects with this CKA_ID but `own`. For one under which there is no private key.
  Status RemoveOrphan(ByteView cka_id, CK_OBJECT_HANDLE own);
  Result<KeyPair> CheckMade(const NewPair& pair, ByteView cka_id);
  Result<KeyPair> Describe(CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key);
  // By its handles, those that are valid.
  void DestroyPair(const NewPair& pair);
  // What was made and must not stay, after `error`, as far as that can be done.
  void Discard(const NewPair& pair, ByteView cka_id, const Error& error);
  Result<Bytes> Sign(const KeyPair& key, CK_MECHANISM mechanism, ByteView input);
  Result<std::vector<CK_OBJECT_HANDLE>> FindObjects(CK_OBJECT_CLASS object_class, ByteView cka_id);
  Result<Bytes> Attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
  Result<bool> Flag(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, bool fallback);
  bool WantsData(CK_OBJECT_HANDLE private_key);
  // kTokenRefused where it is neither RSA nor Ed25519.
  Result<KeyType> TypeOf(CK_OBJECT_HANDLE object);
  Result<Bytes> PublicPart(KeyType type, CK_OBJECT_HANDLE object);
  Error Fail(CK_RV value, const char* function);

  const Module* module_;
  std::shared_ptr<const std::atomic<bool>> alive_;
  CK_SESSION_HANDLE handle_;
  bool usable_ = true;
};

}  // namespace hallmark::pkcs11
