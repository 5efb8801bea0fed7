#pragma once

#include <openssl/evp.h>

#include <memory>
#include <mutex>

#include "firmware/runtime/result.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// A public key. Const methods may be called from any thread.
class PublicKey {
 public:
  // SubjectPublicKeyInfo, DER, with nothing after it. kInvalidArgument for other kinds of keys and for RSA below 1024
  // or above 16,384 bits.
  static Result<PublicKey> FromSpki(ByteView der);
  // The same for what was checked before and is only read back: it is not parsed until it is used. A daemon of a
  // hundred thousand domains starts in a moment and holds few of their keys.
  static Result<PublicKey> FromRecordedSpki(Bytes der);
  // The raw 32 octets of RFC 8032.
  static Result<PublicKey> FromEd25519(ByteView raw);
  // What p= of a key record holds: SubjectPublicKeyInfo for RSA (RFC 6376 section 3.6.1), the raw key for Ed25519
  // (RFC 8463 section 4).
  static Result<PublicKey> FromRecordData(Algorithm algorithm, ByteView data);

  Algorithm algorithm() const { return algorithm_; }
  // 0 when a recorded key turns out to be none.
  unsigned bits() const;
  const Bytes& Spki() const { return spki_; }
  Bytes RecordData() const;

  // Whether `signature` is that of the header data with this SHA-256: PKCS#1 v1.5 for RSA, PureEdDSA over the 32 octets
  // for Ed25519 (RFC 8463 section 3).
  bool Verify(const Digest& digest, ByteView signature) const;

 private:
  using Handle = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  using Context = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;
  struct Parsed {
    std::once_flag once;
    Handle key{nullptr, &EVP_PKEY_free};
    // RSA: set up to verify; a copy of it is a sixth cheaper than one that is set up anew. Never used itself.
    Context verifying{nullptr, &EVP_PKEY_CTX_free};
  };
  PublicKey(Bytes spki, Algorithm algorithm)
      : spki_(std::move(spki)), algorithm_(algorithm), parsed_(std::make_unique<Parsed>()) {}
  static Result<PublicKey> Take(Handle key);
  // Null within when a recorded key turns out to be none.
  const Parsed& Key() const;

  Bytes spki_;
  Algorithm algorithm_;
  std::unique_ptr<Parsed> parsed_;
};

}  // namespace hallmark::dkim
