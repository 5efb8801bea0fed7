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

}  // namespace
}  // namespace hallmark::service
