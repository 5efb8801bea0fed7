#pragma once

#include "firmware/runtime/result.h"
#include "tools/migration/secret_octets.h"

namespace hallmark::migration {

// A private key on its way into a token (hallmark.admin.v1.ImportKeyRequest).
struct Wrapped {
  Bytes wrapping_key_sha256, secret, key;
};

// Wraps PKCS#8 for `wrapping_key` (RSA of at least 2048 bits, SubjectPublicKeyInfo), with a fresh AES-256 key.
// kInvalidArgument where that is no such key.
Result<Wrapped> WrapPrivateKey(ByteView wrapping_key, const SecretOctets& pkcs8);

}  // namespace hallmark::migration
