#include "signerd/tokens/pace.h"

#include <gtest/gtest.h>

namespace hallmark::tokens {
namespace {

using namespace std::chrono_literals;
constexpr Pace::TimePoint kStart{};

TEST(Pace, KnowsNothingAtFirst) { EXPECT_EQ(Pace().TimeFor(1000).count(), 0); }

TEST(Pace, LearnsFromABusyToken) {
  Pace pace;
  auto now = kStart;
  for (int i = 0; i < 200; ++i) pace.Learn(2, true, now += 20ms);
  EXPECT_NEAR(pace.TimeFor(100).count(), 1.0, 0.01);
  // It becomes ten times as slow.
  for (int i = 0; i < 200; ++i) pace.Learn(1, true, now += 100ms);
  EXPECT_NEAR(pace.TimeFor(100).count(), 10.0, 0.1);
}

TEST(Pace, TellsHowManyAreMadeInATime) {
  Pace pace;
  EXPECT_EQ(pace.CountIn(1s, 100), 0u);
  auto now = kStart;
  for (int i = 0; i < 100; ++i) pace.Learn(1, true, now += 300us);
  EXPECT_EQ(pace.CountIn(3150us, 100), 10u);
  EXPECT_EQ(pace.CountIn(1s, 100), 100u);
}

TEST(Pace, IdleTimeIsNotItsSpeed) {
  Pace pace;
  auto now = kStart;
  for (int i = 0; i < 100; ++i) pace.Learn(1, true, now += 1ms);
  pace.Learn(1, false, now += 1ms);
  pace.Learn(1, true, now += 1h);
  pace.Interrupt();
  pace.Learn(1, true, now += 1h);
  EXPECT_NEAR(pace.TimeFor(1000).count(), 1.0, 0.01);
}

}  // namespace
}  // namespace hallmark::tokens
