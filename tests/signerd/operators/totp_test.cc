#include "signerd/operators/totp.h"

#include <gtest/gtest.h>

namespace hallmark::totp {
namespace {

std::chrono::sys_seconds At(std::int64_t seconds) { return std::chrono::sys_seconds(std::chrono::seconds(seconds)); }

Bytes Octets(std::string_view text) { return {text.begin(), text.end()}; }

// RFC 6238 appendix B, SHA-1; the last six of its eight digits.
TEST(TotpTest, AgreesWithTheVectorsOfRfc6238) {
  const Bytes secret = Octets("12345678901234567890");
  const std::pair<std::int64_t, const char*> vectors[] = {
      {59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
      {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"},
  };
  for (const auto& [seconds, code] : vectors) {
    EXPECT_EQ(CodeAt(secret, StepAt(At(seconds))), code) << seconds;
    EXPECT_EQ(MatchingStep(secret, code, At(seconds)), StepAt(At(seconds))) << seconds;
  }
}

TEST(TotpTest, TakesTheStepsBesideThePresentOneAndNoOther) {
  const Bytes secret = Octets("12345678901234567890");
  const auto now = At(1111111111);
  for (std::int64_t off = -3; off <= 3; ++off) {
    const auto match = MatchingStep(secret, CodeAt(secret, StepAt(now) + off), now);
    EXPECT_EQ(match.has_value(), off >= -1 && off <= 1) << off;
  }
}

TEST(TotpTest, WhatIsNoCodeMatchesNothing) {
  const Bytes secret = Octets("12345678901234567890");
  for (const std::string_view code : {"", "28708", "2870820", "28708x", "      ", "\0\0\0\0\0\0"}) {
    EXPECT_FALSE(MatchingStep(secret, code, At(59))) << code;
  }
}

TEST(TotpTest, SecretsAreNewAndGoThereAndBack) {
  const auto one = NewSecret(), other = NewSecret();
  ASSERT_TRUE(one);
  ASSERT_TRUE(other);
  EXPECT_EQ(one->size(), 20u);
  EXPECT_NE(*one, *other);
  const auto back = FromBase32(Base32(*one));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, *one);
  const auto spaced = FromBase32("jbsw y3dp ehpk 3pxp");
  ASSERT_TRUE(spaced);
  EXPECT_EQ(Base32(*spaced), "JBSWY3DPEHPK3PXP");
  for (const std::string_view text : {"", "1", "!!!!", "JBSW0"}) EXPECT_FALSE(FromBase32(text)) << text;
}

TEST(TotpTest, TheUriHoldsTheSecretAndTheNameWhateverThatIs) {
  const Bytes secret = Octets("12345678901234567890");
  const std::string uri = OtpauthUri("a&secret=b?/é", secret);
  EXPECT_TRUE(uri.starts_with("otpauth://totp/Hallmark:a%26secret%3Db%3F%2F%C3%A9?")) << uri;
  const auto back = SecretOf(uri);
  ASSERT_TRUE(back) << uri;
  EXPECT_EQ(*back, secret);
  EXPECT_FALSE(SecretOf("https://example.com/?secret=JBSWY3DPEHPK3PXP"));
  EXPECT_FALSE(SecretOf("otpauth://totp/Hallmark:x?issuer=y"));
}

}  // namespace
}  // namespace hallmark::totp
