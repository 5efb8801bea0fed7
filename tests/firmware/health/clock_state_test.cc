#include "firmware/health/clock_state.h"

#include <gtest/gtest.h>

namespace hallmark::health {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr sys_seconds kMade{seconds(1'790'000'000)}, kNow = kMade + std::chrono::days(30);
constexpr char kAnswer[] =
    "C0000201,192.0.2.1,3,1790000000.123,-0.000213000,0.000012,0.000030,1.5,0.01,0.2,0.006,0.001,64.2,Normal\n";

Reading Judge(const std::optional<Tracking>& tracking, sys_seconds now = kNow) {
  return JudgeClock(tracking, kMade, now);
}

TEST(Clock, ChronydsWordCounts) {
  const Reading good = Judge(ParseTracking(kAnswer));
  EXPECT_EQ(good.level(), kOk);
  EXPECT_EQ(good.message(), "synchronised, by 192.0.2.1, 0.2 ms off; at most 0.004 s off");
  EXPECT_EQ(Judge(Tracking{false, "", {}, microseconds(0)}).level(), kWarning);
  const Reading old = Judge(Tracking{true, "192.0.2.1", microseconds(200), microseconds(1'500'000)});
  EXPECT_EQ(old.level(), kWarning);
  EXPECT_EQ(old.message(), "synchronised long ago, by 192.0.2.1, 0.2 ms off; at most 1.500 s off");
  const Reading silent = Judge(std::nullopt);
  EXPECT_EQ(silent.level(), kWarning);
  EXPECT_EQ(silent.message(), "not synchronised: chronyd does not answer");
}

TEST(Clock, BeforeThisVersionWasMade) {
  const Reading wrong = Judge(Tracking{true, "192.0.2.1", {}, {}}, sys_seconds(seconds(86'400)));
  EXPECT_EQ(wrong.level(), kFailed);
  EXPECT_EQ(wrong.message(), "the clock is wrong: it says 1970-01-02, and this version was made on 2026-09-21");
  EXPECT_EQ(Judge(std::nullopt, kMade - seconds(1)).level(), kFailed);
}

TEST(Clock, WhatChronycSays) {
  const auto tracking = ParseTracking(kAnswer);
  ASSERT_TRUE(tracking);
  EXPECT_TRUE(tracking->synchronised);
  EXPECT_EQ(tracking->source, "192.0.2.1");
  EXPECT_EQ(tracking->offset, microseconds(213));
  // chronyc(1): |offset| + dispersion + half the delay.
  EXPECT_EQ(tracking->largest_error, microseconds(4213));
  for (const char* without_source :
       {"7F7F0101,,0,0.0,0.0,0,0,0,0,0,1,1,0.0,Not synchronised", "a,,c,d,0.1,f,g,h,i,j,1,1,m,Normal",
        "a,b,c,d,0.1,f,g,h,i,j,1,1,m,Not synchronised"}) {
    const auto none = ParseTracking(without_source);
    ASSERT_TRUE(none) << without_source;
    EXPECT_FALSE(none->synchronised) << without_source;
  }
  for (const char* none : {"", "\n", "506 Cannot talk to daemon", "a,b,c,d,nan,f,g,h,i,j,1,1,m,Normal",
                           "a,b,c,d,1e999,f,g,h,i,j,1,1,m,Normal", "a,b,c,d,1e300,f,g,h,i,j,1,1,m,Normal",
                           "a,b,c,d,0.1x,f,g,h,i,j,1,1,m,Normal", "a,b,c,d,0.1,f,g,h,i,j,,1,m,Normal",
                           "a,b,c,d,0.1,f,g,h,i,j,1,x,m,Normal"}) {
    EXPECT_FALSE(ParseTracking(none)) << none;
  }
}

}  // namespace
}  // namespace hallmark::health
