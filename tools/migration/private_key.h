#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "firmware/runtime/result.h"
#include "tools/migration/secret_octets.h"

namespace hallmark::migration {

// A private key that DKIM can sign with, out of a file.
struct PrivateKey {
  SecretOctets pkcs8;  // PKCS#8 version 1, DER
  Bytes spki;          // its public part, SubjectPublicKeyInfo, DER
  bool ed25519 = false;
  unsigned bits = 0;  // of the modulus; Ed25519: 256
  std::string form;   // what it was: "PEM PKCS#1", "Ed25519 seed in base64"
};

// Asks for the pass phrase of an encrypted key; nothing when nobody can be asked.
using AskPassPhrase = std::function<std::optional<SecretOctets>()>;

// Reads a private key: PEM or DER of PKCS#8 (RFC 5958, with and without the public part, encrypted too) or of PKCS#1;
// base64 of the same without armour; for Ed25519 also base64 of the 32-octet seed, or of seed and public key (64
// octets). kInvalidArgument says what it is instead: a public key, a certificate, a key for ECDSA, raw octets, nothing
// known. No sentence shows any of the content.
Result<PrivateKey> ParsePrivateKey(const SecretOctets& content, const AskPassPhrase& ask);

// The same from a file of at most 64 KiB.
Result<PrivateKey> ReadPrivateKey(const std::filesystem::path& file, const AskPassPhrase& ask);

}  // namespace hallmark::migration
