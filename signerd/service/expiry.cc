#include "signerd/service/expiry.h"

#include <map>

namespace hallmark::service {

std::vector<Expiry> ClientExpiries(const std::vector<Expiry>& seen, std::chrono::sys_seconds now) {
  std::map<std::string, const Expiry*> latest;  // by name
  for (const Expiry& expiry : seen) {
    const Expiry*& of_name = latest[expiry.name];
    if (of_name == nullptr || of_name->not_after < expiry.not_after) of_name = &expiry;
  }
  std::vector<Expiry> expiries;
  for (const auto& [name, expiry] : latest) {
    if (expiry->not_after + kExpiryWarning > now) expiries.push_back(*expiry);
  }
  return expiries;
}

std::vector<std::string> ExpiryWarnings(const std::vector<Expiry>& expiries, std::chrono::sys_seconds now) {
  std::vector<std::string> warnings;
  for (const Expiry& expiry : expiries) {
    const auto left = expiry.not_after - now;
    if (left > kExpiryWarning || expiry.revoked) continue;
    const auto days = std::chrono::floor<std::chrono::days>(left).count();
    warnings.push_back(expiry.name +
                       (left.count() < 0 ? " has expired" : " expires in " + std::to_string(days) + " days") +
                       ": renew it (SHA-256 " + expiry.fingerprint + ")");
  }
  return warnings;
}

}  // namespace hallmark::service
