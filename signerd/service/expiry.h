#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace hallmark::service {

// How long before its end a certificate is warned about.
inline constexpr std::chrono::days kExpiryWarning{30};

// When one certificate expires.
struct Expiry {
  std::string name;         // "signing server CN=localhost", "admin client uri:..."
  std::string fingerprint;  // SHA-256, lower-case hexadecimal
  std::chrono::sys_seconds not_after;
};

// The sentences for those that expire within kExpiryWarning or have expired. Any thread.
std::vector<std::string> ExpiryWarnings(const std::vector<Expiry>& expiries, std::chrono::sys_seconds now);

}  // namespace hallmark::service
