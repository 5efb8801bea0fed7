#include "signerd/service/expiry.h"

#include <gtest/gtest.h>

namespace hallmark::service {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::sys_seconds kNow = std::chrono::sys_days(std::chrono::year(2026) / 1 / 31) + 12h;

std::vector<std::string> WarningsFor(std::chrono::seconds left) {
  return ExpiryWarnings({{"signing server CN=mail", "ab12", kNow + left}}, kNow);
}

TEST(ExpiryWarnings, BeginThirtyDaysBefore) {
  EXPECT_TRUE(WarningsFor(30 * 24h + 1s).empty());
  EXPECT_EQ(WarningsFor(30 * 24h),
            std::vector<std::string>{"signing server CN=mail expires in 30 days: renew it (SHA-256 ab12)"});
}

TEST(ExpiryWarnings, GoOnAfterTheEnd) {
  EXPECT_EQ(WarningsFor(1h),
            std::vector<std::string>{"signing server CN=mail expires in 0 days: renew it (SHA-256 ab12)"});
  EXPECT_EQ(WarningsFor(-1s), std::vector<std::string>{"signing server CN=mail has expired: renew it (SHA-256 ab12)"});
}

TEST(ExpiryWarnings, NameEachCertificate) {
  EXPECT_EQ(ExpiryWarnings({{"a", "1", kNow}, {"b", "2", kNow + 400 * 24h}, {"c", "3", kNow + 2 * 24h}}, kNow).size(),
            2u);
}

TEST(ExpiryWarnings, LeaveOutWhatIsRevoked) {
  EXPECT_TRUE(ExpiryWarnings({{"signing client dns:relay1", "1", kNow + 20 * 24h, true}}, kNow).empty());
}

std::vector<std::string> FingerprintsOf(const std::vector<Expiry>& seen) {
  std::vector<std::string> fingerprints;
  for (const Expiry& expiry : ClientExpiries(seen, kNow)) fingerprints.push_back(expiry.fingerprint);
  return fingerprints;
}

TEST(ClientExpiries, OneThatWasReplacedIsToldNoMore) {
  const Expiry before{"signing client dns:a", "1", kNow + 5 * 24h}, after{"signing client dns:a", "2", kNow + 90 * 24h};
  const Expiry other{"signing client dns:b", "3", kNow + 5 * 24h};
  EXPECT_EQ(FingerprintsOf({before, after, other}), (std::vector<std::string>{"2", "3"}));
  EXPECT_EQ(FingerprintsOf({after, other, before}), (std::vector<std::string>{"2", "3"}));
}

TEST(ClientExpiries, OneThatExpiredIsToldForSomeTime) {
  EXPECT_EQ(FingerprintsOf({{"a", "1", kNow - 24h}}), std::vector<std::string>{"1"});
  EXPECT_TRUE(FingerprintsOf({{"a", "1", kNow - 31 * 24h}}).empty());
}

}  // namespace
}  // namespace hallmark::service
