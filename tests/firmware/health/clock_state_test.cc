#include "firmware/health/clock_state.h"

#include <gtest/gtest.h>

namespace hallmark::health {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr sys_seconds kMade{seconds(1'790'000'000)}, kNow = kMade + std::chrono::days(30);

Reading Judge(const Result<ClockState>& state, sys_seconds now = kNow) {
  return JudgeClock(state, std::nullopt, kMade, now);
}

TEST(Clock, TheKernelsWordCounts) {
  const Reading good = JudgeClock(ClockState{true, microseconds(4200)}, "192.0.2.1, 0.2 ms off", kMade, kNow);
  EXPECT_EQ(good.level(), kOk);
  EXPECT_EQ(good.message(), "synchronised, by 192.0.2.1, 0.2 ms off; at most 0.004 s off");
  EXPECT_EQ(Judge(ClockState{false, microseconds(16'000'000)}).level(), kWarning);
  EXPECT_EQ(Judge(ClockState{true, microseconds(1'500'000)}).level(), kWarning);
  EXPECT_EQ(Judge(MakeError(Reason::kIoFailed, "adjtimex: no")).level(), kUnknown);
}

TEST(Clock, BeforeThisVersionWasMade) {
  const Reading wrong = Judge(ClockState{true, microseconds(0)}, sys_seconds(seconds(86'400)));
  EXPECT_EQ(wrong.level(), kFailed);
  EXPECT_EQ(wrong.message(), "the clock is wrong: it says 1970-01-02, and this version was made on 2026-09-21");
  EXPECT_EQ(Judge(MakeError(Reason::kIoFailed, "no"), kMade - seconds(1)).level(), kFailed);
}

TEST(Clock, ThisKernelAnswers) { EXPECT_TRUE(AskKernel().has_value()); }

TEST(Clock, WhatChronycSays) {
  EXPECT_EQ(
      *DescribeTracking("C0000201,192.0.2.1,3,1790000000.123,-0.000213000,0.000012,0.000030,1.5,0.01,0.2,0.01,0.001,"
                        "64.2,Normal\n"),
      "192.0.2.1, 0.2 ms off");
  for (const char* none :
       {"", "\n", "7F7F0101,,0,0.0,0.0,0,0,0,0,0,1,1,0.0,Not synchronised", "506 Cannot talk to daemon",
        "a,b,c,d,nan,f,g,h,i,j,k,l,m,Normal", "a,b,c,d,1e999,f,g,h,i,j,k,l,m,Normal",
        "a,b,c,d,0.1x,f,g,h,i,j,k,l,m,Normal", "a,,c,d,0.1,f,g,h,i,j,k,l,m,Normal"}) {
    EXPECT_FALSE(DescribeTracking(none)) << none;
  }
}

}  // namespace
}  // namespace hallmark::health
