#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

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
  // 32 octets. The domain counts in lower case, the local part as it is (RFC 5321 section 2.4). Only with kHashed.
  Bytes Hash(std::string_view address) const;

 private:
  Recipients(Mode mode, SecretString key) : mode_(mode), key_(std::move(key)) {}
  Mode mode_;
  SecretString key_;
};

}  // namespace hallmark::ledger
