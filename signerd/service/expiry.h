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
  bool revoked = false;  // then nobody has to renew it
};

// Of the clients' certificates those that are to be told of: of each name the one that expires last, for it replaced
// the others; and not what expired longer ago than kExpiryWarning, which nobody can use. In no order. Any thread.
std::vector<Expiry> ClientExpiries(const std::vector<Expiry>& seen, std::chrono::sys_seconds now);

// The sentences for those that expire within kExpiryWarning or have expired, and are not revoked. Any thread.
std::vector<std::string> ExpiryWarnings(const std::vector<Expiry>& expiries, std::chrono::sys_seconds now);

}  // namespace hallmark::service
