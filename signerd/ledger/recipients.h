#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
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
  Recipients(Mode mode, Mac keyed) : mode_(mode), keyed_(std::move(keyed)), idle_(std::make_unique<Idle>()) {}
  static Mac KeyedWith(std::string_view key);
  Mac Take() const;
  void GiveBack(Mac mac) const;

  Mode mode_;
  Mac keyed_;  // HMAC-SHA-256 with the key; only copied. Null but with kHashed
  struct Idle {
    std::mutex mutex;       // guards macs
    std::vector<Mac> macs;  // copies that no thread is using: to make one costs more than to hash an address
  };
  std::unique_ptr<Idle> idle_;
};

}  // namespace hallmark::ledger
