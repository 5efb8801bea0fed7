#include "signerd/service/expiry.h"

namespace hallmark::service {

std::vector<std::string> ExpiryWarnings(const std::vector<Expiry>& expiries, std::chrono::sys_seconds now) {
  std::vector<std::string> warnings;
  for (const Expiry& expiry : expiries) {
    const auto left = expiry.not_after - now;
    if (left > kExpiryWarning) continue;
    const auto days = std::chrono::floor<std::chrono::days>(left).count();
    warnings.push_back(expiry.name +
                       (left.count() < 0 ? " has expired" : " expires in " + std::to_string(days) + " days") +
                       ": renew it (SHA-256 " + expiry.fingerprint + ")");
  }
  return warnings;
}

}  // namespace hallmark::service
