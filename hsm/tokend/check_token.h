#pragma once

#include <filesystem>
#include <string>

#include "firmware/runtime/result.h"
#include "hsm/pkcs11/module.h"

namespace hallmark::tokend {

// Finds the token that `uri` (RFC 7512) names and logs in once with the PIN of its file, so that a person who typed it
// hears at once whether it is right. kNotFound where there is no such token; kPinRejected where the PIN was refused, or
// must not be tried because it is the token's last try.
Result<pkcs11::TokenInfo> CheckToken(const std::filesystem::path& module, const std::string& uri);

}  // namespace hallmark::tokend
