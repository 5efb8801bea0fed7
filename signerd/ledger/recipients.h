#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "firmware/runtime/secret.h"

namespace hallmark::ledger {

// How the ledger keeps the recipients of a message. Const methods: any thread.
class Recipients {
 public:
  enum class Mode : std::uint8_t {
    kClear,   // as they are
    kHashed,  // as HMAC-SHA-256 under a key of this deployment: found by who knows the address, read by nobody
    kNone,    // only how many there are
  };

  // Reads the key of `<ledger directory>/recipient.key`, or makes it (mode 0600), where the mode needs one.
  static Result<Recipients> Open(Mode mode, const std::filesystem::path& ledger_directory);

  Mode mode() const { return mode_; }
  using Hashed = std::array<std::uint8_t, 32>;
  // Of each address its hash. The domain counts in lower case, the local part as it is (RFC 5321 section 2.4). Only
  // with kHashed.
  std::vector<Hashed> Hash(std::span<const std::string> addresses) const;

 private:
  using Mac = std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)>;
  Recipients(Mode mode, Mac keyed) : mode_(mode), keyed_(std::move(keyed)) {}
  static Mac KeyedWith(std::string_view key);
  Mode mode_;
  Mac keyed_;  // HMAC-SHA-256 with the key; copied for use, which costs less than to set a key. Null but with kHashed
};

}  // namespace hallmark::ledger
