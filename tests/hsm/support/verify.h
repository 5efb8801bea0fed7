#pragma once

#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark::test {

Bytes Sha256(std::string_view text);
// As a DKIM verifier would, with OpenSSL: RSASSA-PKCS1-v1_5 over the digest, or PureEdDSA over its 32 octets.
bool Verifies(const Bytes& spki, const Bytes& digest, const Bytes& signature);

}  // namespace hallmark::test
