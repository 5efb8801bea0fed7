#include "signerd/watch/detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "watch/detector_fixture.h"

namespace hallmark::watch {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(DetectorTest, FourteenDaysOfAnOfficeGiveNoAlert) {
  refused_ = 1;
  EXPECT_THAT(Run(days(14), Office), IsEmpty());
  EXPECT_THAT(Run(days(14), Office), IsEmpty());  // the same when nothing is in its learning period any more
}

TEST_F(DetectorTest, SteadyNightlyBatchesAndGrowthGiveNoAlert) {
  // A newsletter each day at three, on top of little else.
  const auto batches = [](sys_seconds now) {
    const auto of_day = now - std::chrono::floor<days>(now);
    return of_day >= hours(3) && of_day < hours(3) + minutes(20) ? 3000.0 : 20.0;
  };
  EXPECT_THAT(Run(days(21), batches), IsEmpty());
}

TEST_F(DetectorTest, TrafficThatGrowsWeekByWeekGivesNoAlert) {
  EXPECT_THAT(Run(days(28),
                  [](sys_seconds now) {
                    return Office(now) * std::exp2(static_cast<double>((now - kStart).count()) / (7 * 86'400.0));
                  }),
              IsEmpty());
}

TEST_F(DetectorTest, ASurgeIsToldOfOnce) {
  EXPECT_THAT(Steady(days(8), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(30), 1000), ElementsAre("SURGE"));
  EXPECT_THAT(last_.message, testing::HasSubstr("usual are"));
  // When it was over for longer than the cool-down the next one is another event.
  EXPECT_THAT(Steady(hours(12), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(10), 3000), ElementsAre("SURGE"));
}

TEST_F(DetectorTest, LittleTrafficIsNoSurge) {
  EXPECT_THAT(Steady(days(8), 0.1), IsEmpty());
  EXPECT_THAT(Steady(minutes(5), 20), IsEmpty());
}

TEST_F(DetectorTest, OnlyHardLimitsAlertWhileItLearns) {
  EXPECT_THAT(Steady(days(1), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(10), 5000), IsEmpty());
  view_.partners.at("acme").watch.hard_limit_per_minute = 1000;
  EXPECT_THAT(Steady(minutes(10), 5000), ElementsAre("HARD_LIMIT"));
}

TEST_F(DetectorTest, AHardLimitCountsTheLastSixtySeconds) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 200;
  EXPECT_THAT(Steady(hours(1), 100), IsEmpty());
  // Half a minute at each side of the full minute.
  Pass(std::chrono::floor<minutes>(clock_.Now()) + minutes(2) + seconds(30) - clock_.Now());
  EXPECT_THAT(Steady(minutes(1), 400), ElementsAre("HARD_LIMIT"));
}

TEST_F(DetectorTest, ADomainThatWakesUpAlertsOnce) {
  domain_ = "old.example";
  Steady(days(1), 5);
  domain_ = "example.com";
  EXPECT_THAT(Steady(days(29), 5), ElementsAre());  // first used within the learning period
  domain_ = "old.example";
  EXPECT_THAT(Steady(minutes(1), 5), IsEmpty());  // 29 days
  domain_ = "example.com";
  Steady(days(31), 5);
  domain_ = "old.example";
  EXPECT_THAT(Steady(hours(3), 5), ElementsAre("DORMANT_DOMAIN"));
  EXPECT_EQ(last_.signing_domain, "old.example");
}

TEST_F(DetectorTest, ADomainThatWasNeverUsedAlerts) {
  Steady(days(8), 5);
  domain_ = "new.example";
  EXPECT_THAT(Steady(hours(3), 5), ElementsAre("DORMANT_DOMAIN"));
}

TEST_F(DetectorTest, AFloodOfRefusalsAlertsOnce) {
  refused_ = 2;
  EXPECT_THAT(Steady(days(8), 50), IsEmpty());
  refused_ = 200;
  EXPECT_THAT(Steady(minutes(30), 50), ElementsAre("REFUSAL_BURST"));
}

TEST_F(DetectorTest, OtherAuthorsThanEverAlertOnce) {
  EXPECT_THAT(Steady(days(8), 50), IsEmpty());
  first_author_ = 1'000'000;
  EXPECT_THAT(Steady(minutes(30), 50), ElementsAre("AUTHOR_CHANGE"));
}

TEST_F(DetectorTest, ASenderWithNewAuthorsAllTheTimeIsUsual) {
  const auto kinds = Run(days(9), [this](sys_seconds) {
    first_author_ += 500;
    return 50.0;
  });
  EXPECT_THAT(kinds, IsEmpty());
}

TEST_F(DetectorTest, MessagesThatBecomeLargeAlertOnce) {
  EXPECT_THAT(Steady(days(8), 50), IsEmpty());
  octets_ = next_ = 20'000'000;
  EXPECT_THAT(Steady(minutes(30), 50), ElementsAre("SIZE_CHANGE"));
  EXPECT_THAT(last_.message, testing::HasSubstr("usual are 20 kB"));
  octets_ = next_ = 20'000;
  EXPECT_THAT(Steady(hours(12), 50), IsEmpty());
  octets_ = next_ = 500'000;  // one event has not made it usual
  EXPECT_THAT(Steady(minutes(30), 50), ElementsAre("SIZE_CHANGE"));
}

TEST_F(DetectorTest, WhatIsUsualOfSizesSurvivesARestart) {
  EXPECT_THAT(Steady(days(8), 50), IsEmpty());
  Detector again(settings_);
  again.Restore(detector_.TakeChanged(), view_);
  Tick tick;
  Count& count = tick[{"acme", "example.com"}];
  count = {.signed_messages = 60, .octets = 60 * 20'000'000ull, .refused = 0, .authors = {}};
  const auto alarms = again.Step(tick, view_, clock_.Now() + minutes(1), steady_);
  ASSERT_EQ(alarms.size(), 1u);
  EXPECT_EQ(alarms.front().kind, "SIZE_CHANGE");
}

TEST_F(DetectorTest, ALargeAttachmentNowAndThenIsNoChange) {
  EXPECT_THAT(Steady(days(8), 50), IsEmpty());
  for (int i = 0; i < 20; ++i) {
    next_ = 25'000'000;
    EXPECT_THAT(Steady(minutes(7), 50), IsEmpty());
  }
}

TEST_F(DetectorTest, LargeMessagesThatComeEachNightAreUsual) {
  EXPECT_THAT(Run(days(21),
                  [this](sys_seconds now) {
                    const auto of_day = now - std::chrono::floor<days>(now);
                    const bool night = of_day >= hours(3) && of_day < hours(3) + minutes(20);
                    octets_ = next_ = night ? 1'000'000 : 10'000;
                    return night ? 50.0 : 20.0;
                  }),
              IsEmpty());
}

TEST_F(DetectorTest, ASurgeOfTheUsualSizeIsNoChangeOfIt) {
  EXPECT_THAT(Steady(days(8), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(30), 3000), ElementsAre("SURGE"));
}

TEST_F(DetectorTest, SizesThatAreToldForTheFirstTimeAreNoChange) {
  octets_ = next_ = 0;
  EXPECT_THAT(Steady(days(8), 50), IsEmpty());
  octets_ = next_ = 20'000;
  EXPECT_THAT(Steady(days(3), 50), IsEmpty());
}

TEST_F(DetectorTest, MailAtATimeThatIsQuietAlertsOnce) {
  EXPECT_THAT(Run(days(21), ByDay), IsEmpty());
  EXPECT_THAT(Steady(hours(2), 0), IsEmpty());
  EXPECT_THAT(Steady(minutes(20), 40), testing::Contains("OFF_HOURS").Times(1));
}

TEST_F(DetectorTest, WhatWasLearntSurvivesARestart) {
  EXPECT_THAT(Steady(days(8), 100), IsEmpty());
  const auto saved = detector_.TakeChanged();
  EXPECT_EQ(saved.size(), 2u);  // the partner and its domain
  EXPECT_TRUE(detector_.TakeChanged().empty());
  Detector again(settings_);
  again.Restore(saved, view_);
  EXPECT_EQ(again.profiles(), 2u);
  Pass(hours(2));  // while it was down nothing was learnt
  Tick tick;
  tick[{"acme", "example.com"}].signed_messages = 100;
  EXPECT_THAT(again.Step(tick, view_, clock_.Now(), steady_), IsEmpty());
  tick[{"acme", "example.com"}].signed_messages = 1000;
  Pass(minutes(1));
  const auto alarms = again.Step(tick, view_, clock_.Now(), steady_);
  ASSERT_EQ(alarms.size(), 1u);
  EXPECT_EQ(alarms.front().kind, "SURGE");
}

TEST_F(DetectorTest, WhatCouldNotBeKeptIsGivenAgain) {
  EXPECT_THAT(Steady(hours(1), 100), IsEmpty());
  const auto saved = detector_.TakeChanged();
  detector_.PutBack(saved);
  EXPECT_EQ(detector_.TakeChanged(), saved);
}

TEST_F(DetectorTest, AProfileThatIsDamagedIsForgotten) {
  detector_.Restore({{"acme", "no protobuf \xff\xff"}, {"other", ""}}, view_);
  EXPECT_EQ(detector_.profiles(), 0u);
  // Where it was kept too.
  EXPECT_THAT(detector_.TakeChanged(),
              testing::UnorderedElementsAre(testing::Pair("acme", ""), testing::Pair("other", "")));
}

TEST_F(DetectorTest, MemoryIsBoundedByThePartnersNumber) {
  for (std::size_t i = 0; i < Detector::kMostPartners + 50; ++i) {
    Tick tick;
    tick[{"p" + std::to_string(i), ""}].refused = 1;
    Pass(seconds(1));
    detector_.Step(tick, view_, clock_.Now(), steady_);
  }
  EXPECT_EQ(detector_.profiles(), Detector::kMostPartners);
  // Who made room goes from where it was kept.
  const auto changed = detector_.TakeChanged();
  EXPECT_EQ(changed.at("p0"), "");
  EXPECT_NE(changed.at("p50"), "");
}

TEST_F(DetectorTest, AHardLimitAlertsThoughThousandsSendInTheSameSecond) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 100;
  std::vector<std::string> kinds;
  for (int second = 0; second < 12; ++second) {
    Tick tick;
    for (int i = 0; i < 5000; ++i) tick[{"p" + std::to_string(i), "example.com"}].signed_messages = 1;
    tick[{"acme", "example.com"}].signed_messages = 10;
    Pass(seconds(1));
    for (const Alarm& alarm : detector_.Step(tick, view_, clock_.Now(), steady_))
      kinds.push_back(alarm.kind + alarm.partner);
  }
  EXPECT_THAT(kinds, ElementsAre("HARD_LIMITacme"));
}

TEST_F(DetectorTest, APartnerThatIsLetInAgainBeginsAnew) {
  snapshot::Partner& acme = view_.partners.at("acme");
  acme.watch.hard_limit_per_minute = 1000;
  EXPECT_THAT(Steady(days(8), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(2), 5000), testing::UnorderedElementsAre("HARD_LIMIT", "SURGE"));
  acme.state = snapshot::PartnerState::kSuspended;
  EXPECT_THAT(Steady(minutes(1), 0), IsEmpty());
  acme.state = snapshot::PartnerState::kActive;
  // What it had before would be a surge of this hour.
  EXPECT_THAT(Steady(minutes(1), 100), IsEmpty());
  // What it has now is one, well within the cool-down.
  EXPECT_THAT(Steady(minutes(2), 5000), testing::UnorderedElementsAre("HARD_LIMIT", "SURGE"));
}

// Nothing of it has become usual, though other refusals have come while the partner was suspended.
// A surge may be told as its domain's too, a step before.
TEST_F(DetectorTest, WhatIsRepeatedByAPartnerThatWasLetInAgainAlertsAgain) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 20'000;
  refused_ = 1;
  EXPECT_THAT(Steady(days(8), 50), IsEmpty());
  const auto repeat = [&](minutes length, double rate, const std::vector<std::string>& kinds, const auto& begin) {
    for (int i = 0; i < 4; ++i) {
      EXPECT_THAT(Steady(minutes(30), 50), IsEmpty());
      begin();
      EXPECT_THAT(RunAndLetInAgain(length, rate), testing::IsSupersetOf(kinds)) << i;
    }
  };
  repeat(minutes(15), 50, {"AUTHOR_CHANGE"}, [&] {
    first_author_ = 1'000'000;
    authors_ = 1'000'000'000;
  });
  repeat(minutes(3), 50, {"REFUSAL_BURST"}, [&] { refused_ = 5000; });
  repeat(minutes(10), 50, {"SIZE_CHANGE"}, [&] { octets_ = next_ = 20'000'000; });
  repeat(minutes(3), 30'000, {"HARD_LIMIT", "SURGE"}, [] {});
}

TEST_F(DetectorTest, AFloodThatEndsIsNotUsualTheNextDay) {
  refused_ = 2;
  EXPECT_THAT(Steady(days(8), 50), IsEmpty());
  for (int i = 0; i < 3; ++i) {
    refused_ = 5000;
    EXPECT_THAT(Steady(minutes(3), 50), ElementsAre("REFUSAL_BURST")) << i;
    refused_ = 2;
    EXPECT_THAT(Steady(days(1), 50), IsEmpty());
  }
}

TEST_F(DetectorTest, ASurgeIsNotUsualInItsHourOfTheNextWeek) {
  EXPECT_THAT(Steady(days(14), 50), IsEmpty());
  for (const double rate : {5000, 4000}) {
    EXPECT_THAT(Steady(minutes(50), rate), ElementsAre("SURGE")) << rate;
    EXPECT_THAT(Steady(days(7) - minutes(50), 50), IsEmpty());
  }
}

TEST_F(DetectorTest, AnHourThatIsQuietIsSoAfterOneEvent) {
  EXPECT_THAT(Run(days(21), ByDay), IsEmpty());
  for (const auto times : {1, 1, 0}) {
    EXPECT_THAT(Steady(hours(2), 0), IsEmpty());
    EXPECT_THAT(Steady(minutes(20), 40), testing::Contains("OFF_HOURS").Times(times));
    EXPECT_THAT(Run(days(7) - hours(2) - minutes(20), ByDay), IsEmpty());
  }
}

TEST_F(DetectorTest, APartnerThatWasSuspendedBetweenTwoLooksBeginsAnew) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 1000;
  EXPECT_THAT(Steady(minutes(2), 5000), ElementsAre("HARD_LIMIT"));
  detector_.NoteSuspended("acme");
  EXPECT_THAT(Steady(minutes(2), 5000), ElementsAre("HARD_LIMIT"));
}

// By day one domain's surge is less than what another has each night, so that their partner has none.
TEST_F(DetectorTest, ASurgeOfOneDomainDoesNotHideThatOfAnother) {
  std::map<std::string, double> rates = {{"big.example", 100}, {"a.example", 10}, {"b.example", 10}, {"c.example", 10}};
  const auto run = [&](seconds length) {
    std::vector<std::string> alarms;
    const sys_seconds end = clock_.Now() + length;
    while (clock_.Now() < end) {
      Pass(kStep);
      const auto of_day = clock_.Now() - std::chrono::floor<days>(clock_.Now());
      const bool night = of_day >= hours(3) && of_day < hours(3) + minutes(20);
      Tick tick;
      for (const auto& [domain, rate] : rates) {
        const double mean = (night && domain == "big.example" ? 6000 : rate) * kStep.count() / 60;
        tick[{"acme", domain}].signed_messages = std::poisson_distribution<std::uint64_t>(mean)(random_);
      }
      for (const Alarm& alarm : detector_.Step(tick, view_, clock_.Now(), steady_)) {
        alarms.push_back(alarm.kind + " " + alarm.signing_domain);
      }
    }
    return alarms;
  };
  EXPECT_THAT(run(days(8) + hours(12)), IsEmpty());
  rates["a.example"] = 1000;
  EXPECT_THAT(run(minutes(5)), ElementsAre("SURGE a.example"));
  rates["b.example"] = 1000;
  EXPECT_THAT(run(minutes(5)), ElementsAre("SURGE b.example"));
  // One of the partner is told as such; what its domains have is part of it.
  rates["big.example"] = 60'000;
  rates["c.example"] = 1000;
  EXPECT_THAT(run(minutes(5)), ElementsAre("SURGE "));
}

TEST_F(DetectorTest, APartnerThatThePolicyNoLongerHasIsForgottenAtAStart) {
  EXPECT_THAT(Steady(days(1), 100), IsEmpty());
  Tick tick;
  tick[{"", ""}].refused = 1;  // of callers of no known partner
  detector_.Step(tick, view_, clock_.Now(), steady_);
  const auto saved = detector_.TakeChanged();
  EXPECT_EQ(saved.size(), 3u);
  view_.partners.erase("acme");
  Detector again(settings_);
  again.Restore(saved, view_);
  EXPECT_EQ(again.profiles(), 1u);
  EXPECT_THAT(again.TakeChanged(),
              testing::UnorderedElementsAre(testing::Pair("acme", ""), testing::Pair("acme\nexample.com", "")));
}

}  // namespace
}  // namespace hallmark::watch
