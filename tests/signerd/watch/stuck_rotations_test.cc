#include "signerd/watch/stuck_rotations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hallmark::watch {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::chrono::steady_clock::time_point kNow{std::chrono::hours(100)};

TEST(StuckRotations, OneDomainIsToldOfOnceAndAgainWhenItIsStuckAgain) {
  StuckRotations rotations;
  EXPECT_FALSE(rotations.Step({}, kNow));
  const auto alarm = rotations.Step({{"a.example", "no answer"}}, kNow);
  ASSERT_TRUE(alarm);
  EXPECT_EQ(alarm->kind, "ROTATION_STUCK");
  EXPECT_EQ(alarm->signing_domain, "a.example");
  EXPECT_THAT(alarm->message, HasSubstr("no answer"));
  EXPECT_FALSE(rotations.Step({{"a.example", "no answer"}}, kNow + std::chrono::hours(10)));
  EXPECT_FALSE(rotations.Step({}, kNow + std::chrono::hours(11)));
  EXPECT_TRUE(rotations.Step({{"a.example", "no answer"}}, kNow + std::chrono::hours(12)));
}

TEST(StuckRotations, AThousandDomainsAreTwoAlerts) {
  StuckRotations rotations;
  std::map<std::string, std::string> stuck;
  auto now = kNow;
  std::vector<std::string> messages;
  for (int i = 0; i < 1000; ++i) {  // as they fall due, in eight minutes
    stuck.emplace("d" + std::to_string(1000 + i) + ".example", "no resolver");
    if (auto alarm = rotations.Step(stuck, now += std::chrono::milliseconds(480))) messages.push_back(alarm->message);
  }
  EXPECT_EQ(messages.size(), 1u);
  const auto rest = rotations.Step(stuck, now + StuckRotations::kPause);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->signing_domain, "");
  EXPECT_THAT(rest->message, HasSubstr("999 domains"));
  EXPECT_THAT(rest->message, HasSubstr("d1001.example"));
  EXPECT_THAT(rest->message, HasSubstr("and 994 more"));
  EXPECT_THAT(rest->message, Not(HasSubstr("d1500.example")));
  EXPECT_FALSE(rotations.Step(stuck, now + std::chrono::hours(10)));
}

}  // namespace
}  // namespace hallmark::watch
