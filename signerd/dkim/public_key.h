#pragma once

#include <openssl/evp.h>

#include <memory>

#include "firmware/runtime/result.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// A public key, parsed once. Const methods may be called from any thread.
class PublicKey {
 public:
  // SubjectPublicKeyInfo, DER, with nothing after it. kInvalidArgument for other kinds of keys and for RSA below 1024
  // or above 16,384 bits.
  static Result<PublicKey> FromSpki(ByteView der);
  // The raw 32 octets of RFC 8032.
  static Result<PublicKey> FromEd25519(ByteView raw);
  // What p= of a key record holds: SubjectPublicKeyInfo for RSA (RFC 6376 section 3.6.1), the raw key for Ed25519
  // (RFC 8463 section 4).
  static Result<PublicKey> FromRecordData(Algorithm algorithm, ByteView data);

  Algorithm algorithm() const { return algorithm_; }
  unsigned bits() const { return static_cast<unsigned>(EVP_PKEY_get_bits(key_.get())); }
  Bytes Spki() const;
  Bytes RecordData() const;

  // Whether `signature` is that of the header data with this SHA-256: PKCS#1 v1.5 for RSA, PureEdDSA over the 32 octets
  // for Ed25519 (RFC 8463 section 3).
  bool Verify(const Digest& digest, ByteView signature) const;

 private:
  using Handle = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  PublicKey(Handle key, Algorithm algorithm) : key_(std::move(key)), algorithm_(algorithm) {}
  static Result<PublicKey> Take(Handle key);
  Handle key_;
  Algorithm algorithm_;
};

}  // namespace hallmark::dkim
