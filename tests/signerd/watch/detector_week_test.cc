// Hours of the week that are quiet, and those that end to be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "signerd/watch/detector.h"
#include "watch/detector_fixture.h"

namespace hallmark::watch {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using testing::Contains;
using testing::IsEmpty;
using testing::Not;

class WeekTest : public DetectorTest {
 protected:
  static double Business(sys_seconds now) {
    return std::chrono::weekday(std::chrono::floor<days>(now)).iso_encoding() <= 5 ? ByDay(now) : 0.0;
  }
  // From a Monday, 0:00, on which what is usual is known.
  void ExpectNightIsQuiet() {
    EXPECT_THAT(Steady(hours(2), 0), IsEmpty());
    EXPECT_THAT(Steady(minutes(20), 40), Contains("OFF_HOURS").Times(1));
  }
  // Four weeks after its first traffic, of which it has had next to none.
  void ExpectBusinessIsLearnt() {
    Pass(kStart + days(28) - clock_.Now());
    EXPECT_THAT(Run(days(28), Business), Not(Contains("OFF_HOURS"))) << "no hour was any quieter than the others";
    EXPECT_THAT(Run(days(7), Business), IsEmpty());
    ExpectNightIsQuiet();
  }
};

TEST_F(WeekTest, HoursBeforeAPartnerSendsAreNotQuiet) {
  EXPECT_THAT(Steady(minutes(1), 10), IsEmpty());  // a test
  ExpectBusinessIsLearnt();
}

TEST_F(WeekTest, HoursOfAPartnerThatWasOnlyRefusedAreNotQuiet) {
  refused_ = 60;
  EXPECT_THAT(Steady(minutes(1), 0), IsEmpty());
  refused_ = 0;
  ExpectBusinessIsLearnt();
}

// What is usual of the whole week rises with each hour that is learnt: the others must be no quieter for that.
TEST_F(WeekTest, HoursThatAreAddedToANightlyJobAreLearntWithTheSecondWeek) {
  const auto nightly = [](sys_seconds now) {
    const auto of_day = now - std::chrono::floor<days>(now);
    return of_day >= hours(2) && of_day < hours(3) ? 2.0 : 0.0;
  };
  EXPECT_THAT(Run(days(28), nightly), IsEmpty());
  const auto both = [&](sys_seconds now) { return nightly(now) + Business(now); };
  EXPECT_THAT(Run(days(7), both), Contains("OFF_HOURS"));
  Run(days(7), both);
  EXPECT_THAT(Run(days(14), both), IsEmpty());
}

TEST_F(WeekTest, ThatAnHourHadOneEventSurvivesARestart) {
  EXPECT_THAT(Run(days(21), ByDay), IsEmpty());
  Detector again(settings_);
  for (const auto times : {1, 1, 0}) {
    EXPECT_THAT(Steady(hours(2), 0), IsEmpty());
    EXPECT_THAT(Steady(minutes(20), 40), Contains("OFF_HOURS").Times(times));
    EXPECT_THAT(Run(days(7) - hours(2) - minutes(20), ByDay), IsEmpty());
    if (in_use_ == &again) continue;
    again.Restore(detector_.TakeChanged(), view_);
    in_use_ = &again;
  }
}

// The next one is the first again.
TEST_F(WeekTest, AnHourWithoutAnEventEndsTheOneBefore) {
  EXPECT_THAT(Run(days(21), ByDay), IsEmpty());
  for (int i = 0; i < 2; ++i) {
    ExpectNightIsQuiet();
    EXPECT_THAT(Run(days(28) - hours(2) - minutes(20), ByDay), IsEmpty());
  }
  ExpectNightIsQuiet();
}

}  // namespace
}  // namespace hallmark::watch
