#include "signerd/operators/sessions.h"

#include <gtest/gtest.h>

namespace hallmark::operators {
namespace {

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'800'000'000)};
constexpr std::chrono::minutes kLength{15};
const Bytes kCertificate(32, 1), kOther(32, 2);

TEST(SessionsTest, IsGoodWithItsCertificateUntilItsEnd) {
  Sessions sessions;
  const auto session = sessions.Open("alice", kCertificate, kNow, kLength);
  ASSERT_TRUE(session);
  EXPECT_EQ(session->token.size(), 64u);
  EXPECT_EQ(session->expires, kNow + kLength);
  const auto holder = sessions.Find(session->token, kCertificate, kNow + kLength - std::chrono::seconds(1));
  ASSERT_TRUE(holder);
  EXPECT_EQ(holder->name, "alice");
  EXPECT_FALSE(sessions.Find(session->token, kOther, kNow));
  EXPECT_FALSE(sessions.Find(session->token, kCertificate, kNow + kLength));
}

TEST(SessionsTest, WhatIsNoTokenFindsNothing) {
  Sessions sessions;
  const auto session = sessions.Open("alice", kCertificate, kNow, kLength);
  ASSERT_TRUE(session);
  std::string flipped = session->token;
  flipped.back() = flipped.back() == '0' ? '1' : '0';
  for (const std::string& token : {std::string(), std::string(64, '0'), session->token.substr(1), flipped}) {
    EXPECT_FALSE(sessions.Find(token, kCertificate, kNow)) << token;
  }
}

TEST(SessionsTest, EndsOneOrAllOfAnOperator) {
  Sessions sessions;
  const auto first = sessions.Open("alice", kCertificate, kNow, kLength);
  const auto second = sessions.Open("alice", kCertificate, kNow, kLength);
  const auto bob = sessions.Open("bob", kOther, kNow, kLength);
  sessions.End(first->token);
  EXPECT_FALSE(sessions.Find(first->token, kCertificate, kNow));
  EXPECT_TRUE(sessions.Find(second->token, kCertificate, kNow));
  sessions.EndAll("alice");
  EXPECT_FALSE(sessions.Find(second->token, kCertificate, kNow));
  EXPECT_TRUE(sessions.Find(bob->token, kOther, kNow));
}

TEST(SessionsTest, TheOldestOfAnOperatorGivesWay) {
  Sessions sessions;
  std::vector<std::string> tokens;
  const auto bob = sessions.Open("bob", kOther, kNow, kLength);
  for (std::size_t i = 0; i <= Sessions::kMostEach; ++i) {
    tokens.push_back(sessions.Open("alice", kCertificate, kNow + std::chrono::seconds(i), kLength)->token);
  }
  EXPECT_FALSE(sessions.Find(tokens.front(), kCertificate, kNow));
  for (std::size_t i = 1; i < tokens.size(); ++i) EXPECT_TRUE(sessions.Find(tokens[i], kCertificate, kNow)) << i;
  EXPECT_TRUE(sessions.Find(bob->token, kOther, kNow));
}

}  // namespace
}  // namespace hallmark::operators
