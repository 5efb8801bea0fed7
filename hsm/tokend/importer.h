#pragma once

#include <optional>

#include "hsm/link/frame.h"
#include "hsm/pkcs11/private_part.h"
#include "hsm/pkcs11/session.h"

namespace hallmark::tokend {

// Puts private keys into the token that were made elsewhere. They come wrapped for a key pair made for that purpose:
// one in the token where it can unwrap keys, so that no process sees them; otherwise one in this process's memory. Not
// thread-safe.
class Importer {
 public:
  // The public key to wrap for, SubjectPublicKeyInfo. The same until Forget(). A pair in the token lives in `session`.
  Result<Bytes> Begin(pkcs11::Session& session);
  // `session` is the one of Begin(); `data`: the token hashes RSA itself. Whatever fails, nothing of the key is left in
  // the token. kStateConflict where it was wrapped for another pair than the present; kInvalidArgument where it does
  // not unwrap; kKeyMismatch where the public part is another's.
  Result<pkcs11::KeyPair> Import(pkcs11::Session& session, const link::ImportKey& call, bool data);
  // The session is gone, and the pair with it.
  void Forget();

  bool begun() const { return in_token_ || own_; }

 private:
  const Bytes& spki() const { return in_token_ ? in_token_->spki : own_->spki(); }
  // The private object.
  Status Put(pkcs11::Session& session, const link::ImportKey& call, pkcs11::KeyType type);
  Status PutFromMemory(pkcs11::Session& session, const link::ImportKey& call);

  // At most one of them.
  std::optional<pkcs11::WrappingPair> in_token_;
  std::optional<pkcs11::OwnWrappingPair> own_;
};

}  // namespace hallmark::tokend
