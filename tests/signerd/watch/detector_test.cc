#include "signerd/watch/detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <utility>

#include "firmware/runtime/clock.h"

namespace hallmark::watch {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using testing::ElementsAre;
using testing::IsEmpty;

// A Monday, 0:00 UTC.
const sys_seconds kStart = std::chrono::sys_days(std::chrono::year(2026) / 1 / 5);

// Traffic of one partner for example.com, in steps of ten seconds.
class DetectorTest : public testing::Test {
 protected:
  DetectorTest() { view_.partners.emplace("acme", snapshot::Partner{"acme"}); }

  // `rate` is messages a minute at a time.
  std::vector<std::string> Run(seconds length, const std::function<double(sys_seconds)>& rate) {
    std::vector<std::string> kinds;
    const sys_seconds end = clock_.Now() + length;
    while (clock_.Now() < end) {
      clock_.Set(clock_.Now() + kStep);
      Tick tick;
      Count& count = tick[{"acme", domain_}];
      const double mean = rate(clock_.Now()) * kStep.count() / 60;
      count.signed_messages = mean <= 0 ? 0 : std::poisson_distribution<std::uint64_t>(mean)(random_);
      count.octets =
          count.signed_messages == 0 ? 0 : (count.signed_messages - 1) * octets_ + std::exchange(next_, octets_);
      for (std::uint64_t i = 0; i < count.signed_messages; ++i) count.authors.push_back(Author());
      if (refused_ > 0) {
        tick[{"acme", ""}].refused = std::poisson_distribution<std::uint64_t>(refused_ * kStep.count() / 60)(random_);
      }
      if (count.signed_messages == 0) tick.erase({"acme", domain_});
      for (const Alarm& alarm : detector_.Step(tick, view_, clock_.Now())) {
        EXPECT_EQ(alarm.partner, "acme");
        EXPECT_FALSE(alarm.message.empty());
        kinds.push_back(alarm.kind);
        last_ = alarm;
      }
    }
    return kinds;
  }
  std::vector<std::string> Steady(seconds length, double rate) {
    return Run(length, [=](sys_seconds) { return rate; });
  }
  std::uint64_t Author() {
    return HashAuthor("user" + std::to_string(first_author_ + random_() % 500) + "@example.com");
  }

  // An office: busy on weekdays, next to nothing at night.
  static double Office(sys_seconds now) {
    const auto day = std::chrono::floor<days>(now);
    const double hour = static_cast<double>((now - day).count()) / 3600;
    const bool weekend = std::chrono::weekday(day).iso_encoding() > 5;
    const double busy = std::exp(-(hour - 13) * (hour - 13) / 18);
    return weekend ? 3 + 10 * busy : 4 + 200 * busy;
  }

  static constexpr seconds kStep{10};
  snapshot::Snapshot view_;
  ManualClock clock_{kStart};
  Settings settings_;
  Detector detector_{settings_};
  std::mt19937_64 random_{4711};
  std::string domain_ = "example.com";
  double refused_ = 0;                              // a minute
  std::uint64_t octets_ = 20'000, next_ = octets_;  // of a message; of the next one
  std::uint64_t first_author_ = 0;
  Alarm last_;
};

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
  clock_.Set(std::chrono::floor<minutes>(clock_.Now()) + minutes(2) + seconds(30));
  EXPECT_THAT(Steady(minutes(1), 400), ElementsAre("HARD_LIMIT"));
}

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

TEST_F(DetectorTest, AnAlertIsToldThoughItWasToldOfByAClockThatWasAhead) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 1000;
  EXPECT_THAT(Steady(minutes(10), 5000), ElementsAre("HARD_LIMIT"));
  clock_.Set(clock_.Now() - days(300));
  EXPECT_THAT(Steady(minutes(10), 100), IsEmpty());
  EXPECT_THAT(Steady(minutes(10), 5000), ElementsAre("HARD_LIMIT"));
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
  const auto alarms = again.Step(tick, view_, clock_.Now() + minutes(1));
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
  const auto by_day = [](sys_seconds now) {
    const auto of_day = now - std::chrono::floor<days>(now);
    return of_day >= hours(8) && of_day < hours(18) ? 50.0 : 0.0;
  };
  EXPECT_THAT(Run(days(21), by_day), IsEmpty());
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
  clock_.Set(clock_.Now() + hours(2));  // while it was down nothing was learnt
  Tick tick;
  tick[{"acme", "example.com"}].signed_messages = 100;
  EXPECT_THAT(again.Step(tick, view_, clock_.Now()), IsEmpty());
  tick[{"acme", "example.com"}].signed_messages = 1000;
  clock_.Set(clock_.Now() + minutes(1));
  const auto alarms = again.Step(tick, view_, clock_.Now());
  ASSERT_EQ(alarms.size(), 1u);
  EXPECT_EQ(alarms.front().kind, "SURGE");
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
    clock_.Set(clock_.Now() + seconds(1));
    detector_.Step(tick, view_, clock_.Now());
  }
  EXPECT_EQ(detector_.profiles(), Detector::kMostPartners);
  // Who made room goes from where it was kept.
  const auto changed = detector_.TakeChanged();
  EXPECT_EQ(changed.at("p0"), "");
  EXPECT_NE(changed.at("p50"), "");
}

// One look may bring more than there is room for where the clock went back: all that was seen before is younger then.
TEST_F(DetectorTest, PartnersOfOneLookMayDisplaceEachOther) {
  Tick tick;
  for (std::size_t i = 0; i < Detector::kMostPartners + 50; ++i) {
    tick[{"p" + std::to_string(i), "example.com"}].signed_messages = 1;
  }
  detector_.Step(tick, view_, clock_.Now());
  tick.clear();
  for (const char* name : {"a", "b"}) tick[{name, "example.com"}].signed_messages = 1;
  detector_.Step(tick, view_, clock_.Now() - hours(1));
  EXPECT_THAT(Steady(minutes(1), 10), IsEmpty());
}

TEST_F(DetectorTest, AHardLimitAlertsThoughThousandsSendInTheSameSecond) {
  view_.partners.at("acme").watch.hard_limit_per_minute = 100;
  std::vector<std::string> kinds;
  for (int second = 0; second < 12; ++second) {
    Tick tick;
    for (int i = 0; i < 5000; ++i) tick[{"p" + std::to_string(i), "example.com"}].signed_messages = 1;
    tick[{"acme", "example.com"}].signed_messages = 10;
    clock_.Set(clock_.Now() + seconds(1));
    for (const Alarm& alarm : detector_.Step(tick, view_, clock_.Now())) kinds.push_back(alarm.kind + alarm.partner);
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
      clock_.Set(clock_.Now() + kStep);
      const auto of_day = clock_.Now() - std::chrono::floor<days>(clock_.Now());
      const bool night = of_day >= hours(3) && of_day < hours(3) + minutes(20);
      Tick tick;
      for (const auto& [domain, rate] : rates) {
        const double mean = (night && domain == "big.example" ? 6000 : rate) * kStep.count() / 60;
        tick[{"acme", domain}].signed_messages = std::poisson_distribution<std::uint64_t>(mean)(random_);
      }
      for (const Alarm& alarm : detector_.Step(tick, view_, clock_.Now())) {
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
  detector_.Step(tick, view_, clock_.Now());
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
