#pragma once

#include <string>

#include "firmware/runtime/result.h"

namespace hallmark::test {

// A private key outside of any token.
struct LooseKey {
  Bytes pkcs8, spki;
};
// "RSA" with `bits`, or "ED25519".
LooseKey MakeLooseKey(const std::string& algorithm, unsigned bits = 0);

// What an import sends: an AES-256 key encrypted to `wrapping_key` (SubjectPublicKeyInfo) and `key` wrapped with it.
struct Wrapped {
  Bytes wrapping_key_sha256, secret, key;
};
Wrapped WrapFor(ByteView wrapping_key, ByteView key);

}  // namespace hallmark::test
