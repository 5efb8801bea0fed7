#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "firmware/runtime/secret.h"

namespace hallmark::dns {

// The key of a transaction signature (RFC 8945). Move-only, as its secret is.
struct TsigKey {
  std::string name;       // as the server knows it, in lower case without the final dot
  std::string algorithm;  // "hmac-sha256" or "hmac-sha512"
  SecretString secret;    // in base64, as ldns takes it
};

// Makes the key that `content` holds, in one of these forms:
//
//   c2VjcmV0...                                                        the secret alone, in base64
//   key "NAME" { algorithm hmac-sha256; secret "c2VjcmV0..."; };       as tsig-keygen prints it
//   # hmac-sha256:NAME:c2VjcmV0...                                     as keymgr -t prints it; what follows is not read
//
// `name` and `algorithm` are what the configuration says; each may be empty where the content says it, and must be the
// same where both do. kConfigInvalid otherwise, or where the algorithm is neither hmac-sha256 nor hmac-sha512 or the
// secret is no base64 or shorter than 16 octets. The error never repeats the secret. Any thread.
Result<TsigKey> ParseTsigKey(std::string_view content, const std::string& name, const std::string& algorithm);

// As ParseTsigKey, of a file that nobody else can read (kConfigInvalid otherwise, as for a PIN); kNotFound, kIoFailed.
// The error begins with the file's name.
Result<TsigKey> ReadTsigKey(const std::filesystem::path& file, const std::string& name, const std::string& algorithm);

}  // namespace hallmark::dns
