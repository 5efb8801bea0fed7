#pragma once

#include <p11-kit/pkcs11.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "firmware/runtime/result.h"
#include "hsm/pkcs11/session.h"

struct evp_pkey_st;

// Private keys in this process's memory, where a token cannot unwrap them itself. All of it is wiped when it goes.
namespace hallmark::pkcs11 {

// Octets that are wiped when they go. Of fixed size, so that no copy is left behind.
class WipedBytes {
 public:
  explicit WipedBytes(std::size_t size) : octets_(size) {}
  WipedBytes(WipedBytes&& other) noexcept : octets_(std::move(other.octets_)) {}
  WipedBytes& operator=(WipedBytes&&) = delete;
  ~WipedBytes();

  std::uint8_t* data() { return octets_.data(); }
  std::size_t size() const { return octets_.size(); }
  // Of what it was given room for, so much was needed. It never grows: to move would leave a copy behind.
  void Shrink(std::size_t size) { octets_.resize(std::min(size, octets_.size())); }
  ByteView view() const { return octets_; }

 private:
  Bytes octets_;
};

// A private key by its parts, as C_CreateObject takes them.
struct PrivatePart {
  KeyType type = KeyType::kRsa;
  Bytes spki;
  // RSA: the numbers of RFC 8017 appendix A.1.2, big endian. Ed25519: CKA_VALUE, the seed of 32 octets.
  std::vector<std::pair<CK_ATTRIBUTE_TYPE, WipedBytes>> values;
};

// PKCS#8, DER. kInvalidArgument where it is none, or of another kind than RSA and Ed25519.
Result<PrivatePart> ParsePkcs8(ByteView der);

// An RSA pair for the time of an import, made and kept by OpenSSL.
class OwnWrappingPair {
 public:
  static Result<OwnWrappingPair> Generate();
  const Bytes& spki() const { return spki_; }
  // RSA-OAEP with SHA-1 and MGF1 with SHA-1. kInvalidArgument where it was not wrapped for this key.
  Result<WipedBytes> Decrypt(ByteView wrapped) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  explicit OwnWrappingPair(std::unique_ptr<evp_pkey_st, Free> key) : key_(std::move(key)) {}
  std::unique_ptr<evp_pkey_st, Free> key_;
  Bytes spki_;
};

// AES-256 key wrap with padding (RFC 5649). kInvalidArgument where it was not wrapped with `secret`, or was changed.
Result<WipedBytes> UnwrapWithSecret(ByteView secret, ByteView wrapped);

}  // namespace hallmark::pkcs11
