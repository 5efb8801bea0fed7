// A clock that is set back or forward.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>

#include "signerd/watch/detector.h"
#include "watch/detector_fixture.h"

namespace hallmark::watch {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

// A hard limit may suspend a partner: no minute may be counted twice because the clock went back over it.
TEST_F(DetectorTest, AClockThatGoesBackIsNoSurge) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 1000;
  for (const auto learnt : {days(1), days(8)}) {
    EXPECT_THAT(Steady(learnt, 100), IsEmpty());
    for (const seconds back : {seconds(30), seconds(minutes(59)), seconds(hours(1)), seconds(days(2))}) {
      clock_.Set(clock_.Now() - back);
      EXPECT_THAT(Steady(minutes(30), 100), IsEmpty()) << back.count() << " s back";
    }
  }
  EXPECT_THAT(Steady(days(2), 100), IsEmpty());  // until it has learnt for long enough by this clock
  EXPECT_THAT(Steady(minutes(10), 3000), testing::IsSupersetOf({"HARD_LIMIT", "SURGE"}));
}

// A start with an old clock that is set later, as where no battery keeps it.
TEST_F(DetectorTest, AClockThatIsSetForwardIsNoSurgeAndWakesNoDomain) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 1000;
  refused_ = 30;
  EXPECT_THAT(Steady(days(8), 100), IsEmpty());
  std::list<Detector> started;
  for (const seconds behind : {seconds(hours(3)), seconds(days(40)), seconds(days(400))}) {
    clock_.Set(clock_.Now() - behind);
    Detector& again = started.emplace_back(settings_);
    again.Restore(in_use_->TakeChanged(), view_);
    in_use_ = &again;
    EXPECT_THAT(Steady(minutes(5), 100), IsEmpty());
    clock_.Set(clock_.Now() + behind);
    EXPECT_THAT(Steady(hours(3), 100), IsEmpty()) << behind.count() << " s ahead";
  }
  // It still knows what is usual.
  EXPECT_THAT(Steady(minutes(10), 3000), testing::IsSupersetOf({"HARD_LIMIT", "SURGE"}));
}

TEST_F(DetectorTest, AClockThatIsSetForwardEndsNoLearning) {
  EXPECT_THAT(Steady(minutes(5), 100), IsEmpty());
  clock_.Set(clock_.Now() + days(40));
  domain_ = "new.example";
  EXPECT_THAT(Steady(days(6), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(10), 5000), IsEmpty());
}

// A partner, and a domain of one that is known for longer, of two days: before, with and after an old clock.
TEST_F(DetectorTest, AStartWithAnOldClockEndsNoLearning) {
  EXPECT_THAT(Steady(days(2), 100), IsEmpty());
  clock_.Set(clock_.Now() - days(40));
  Detector again(settings_);
  again.Restore(detector_.TakeChanged(), view_);
  in_use_ = &again;
  EXPECT_THAT(Steady(minutes(5), 100), IsEmpty());
  clock_.Set(clock_.Now() + days(40));
  domain_ = "new.example";
  EXPECT_THAT(Steady(minutes(10), 5000), IsEmpty());
  EXPECT_THAT(Steady(days(5), 100), IsEmpty());
  domain_ = "other.example";
  EXPECT_THAT(Steady(minutes(10), 100), ElementsAre("DORMANT_DOMAIN")) << "it has learnt for long enough by now";
}

TEST_F(DetectorTest, AStartWithAnOldClockEndsNoLearningOfADomain) {
  // So much each night that a surge of the new domain is none of the partner.
  const auto known = [](std::chrono::sys_seconds now) {
    const auto of_day = now - std::chrono::floor<days>(now);
    return of_day >= hours(3) && of_day < hours(3) + minutes(5) ? 3000.0 : 100.0;
  };
  // Each domain has every second step.
  const auto both = [&](seconds length, double rate) {
    return Run(length, [&](std::chrono::sys_seconds now) {
      const bool is_new = domain_ == "new.example";
      domain_ = is_new ? "example.com" : "new.example";
      return is_new ? rate : known(now);
    });
  };
  EXPECT_THAT(Run(days(8), known), IsEmpty());
  EXPECT_THAT(both(days(2), 5), ElementsAre("DORMANT_DOMAIN"));
  clock_.Set(clock_.Now() - days(40));
  Detector again(settings_);
  again.Restore(detector_.TakeChanged(), view_);
  in_use_ = &again;
  EXPECT_THAT(both(minutes(5), 5), IsEmpty());
  clock_.Set(clock_.Now() + days(40));
  EXPECT_THAT(both(minutes(30), 5), IsEmpty());
  EXPECT_THAT(both(minutes(5), 2000), IsEmpty());
  EXPECT_THAT(both(days(6), 5), IsEmpty());
  EXPECT_THAT(both(minutes(5), 2500), ElementsAre("SURGE")) << "it has learnt for long enough by now";
}

TEST_F(DetectorTest, AnEventThatGoesOnAsTheClockIsSetForwardIsTheSame) {
  EXPECT_THAT(Steady(days(8), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(10), 1000), ElementsAre("SURGE"));
  clock_.Set(clock_.Now() + days(2));
  EXPECT_THAT(Steady(minutes(10), 1000), IsEmpty());
}

// It was last seen by another clock than the one that is set.
TEST_F(DetectorTest, ADomainThatIsDormantIsSoAfterAStartWithAnOldClock) {
  domain_ = "old.example";
  Steady(days(1), 5);
  domain_ = "example.com";
  Steady(days(31), 5);
  clock_.Set(clock_.Now() - days(40));
  Detector again(settings_);
  again.Restore(detector_.TakeChanged(), view_);
  in_use_ = &again;
  Steady(minutes(5), 5);
  clock_.Set(clock_.Now() + days(40));
  EXPECT_THAT(Steady(minutes(5), 5), IsEmpty());
  domain_ = "old.example";
  EXPECT_THAT(Steady(minutes(5), 5), ElementsAre("DORMANT_DOMAIN"));
}

TEST_F(DetectorTest, AnAlertIsToldThoughItWasToldOfByAClockThatWasAhead) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 1000;
  EXPECT_THAT(Steady(minutes(10), 5000), ElementsAre("HARD_LIMIT"));
  clock_.Set(clock_.Now() - days(300));
  EXPECT_THAT(Steady(minutes(10), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(10), 5000), ElementsAre("HARD_LIMIT"));
}

// One look may bring more than there is room for where the clock went back: all that was seen before is younger then.
TEST_F(DetectorTest, PartnersOfOneLookMayDisplaceEachOther) {
  Tick tick;
  for (std::size_t i = 0; i < Detector::kMostPartners + 50; ++i) {
    tick[{"p" + std::to_string(i), "example.com"}].signed_messages = 1;
  }
  detector_.Step(tick, view_, clock_.Now(), steady_);
  tick.clear();
  for (const char* name : {"a", "b"}) tick[{name, "example.com"}].signed_messages = 1;
  detector_.Step(tick, view_, clock_.Now() - hours(1), steady_);
  EXPECT_THAT(Steady(minutes(1), 10), IsEmpty());
}

}  // namespace
}  // namespace hallmark::watch
