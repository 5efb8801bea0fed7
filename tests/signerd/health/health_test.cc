#include "signerd/health/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "sample.h"
#include "signerd/health/liveness.h"

namespace hallmark::health {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr sys_seconds kStart{seconds(1'790'000'000)};

// Without tokens: what is made of hallmark-health's report.
class HealthOfTheBox : public testing::Test {
 protected:
  HealthOfTheBox() : tokens_("/nowhere/tokend", std::vector<tokens::TokenConfig>(1)) {
    settings_.report = folder_.path() / "report.json";
    settings_.report_expected = true;
    settings_.alert_after = minutes(5);
  }

  Health Make(sys_seconds last_record = {}) {
    return Health({settings_, self_test_, [] { return std::vector<tokens::TokenFacts>(); }, clock_, last_record,
                   folder_.path() / "health.json"});
  }
  void Report(std::string_view name, Level level, std::string_view message = "") {
    health::Report report;
    report.mutable_observe_time()->set_seconds(clock_.Now().time_since_epoch().count());
    *report.add_readings() = MakeReading(name, level, message, clock_.Now());
    ASSERT_TRUE(WriteReport(settings_.report, report));
  }
  // Both clocks go on.
  void Look(Health& health, seconds later) {
    clock_.Set(clock_.Now() + later);
    now_ += later;
    health.Look(now_);
  }
  static std::string Text(const Health& health, std::string_view name) {
    const health::Report report = health.Current();
    const Reading* reading = Find(report, name);
    return reading == nullptr ? "none" : std::string(LevelName(reading->level())) + ": " + reading->message();
  }

  const test::TemporaryFolder folder_;
  ManualClock clock_{kStart};
  Health::Time now_ = std::chrono::steady_clock::now();
  tokens::TokenSet tokens_;
  snapshot::Current snapshot_{std::make_shared<const snapshot::Snapshot>()};
  SelfTest self_test_{{tokens_, snapshot_, [] { return nullptr; }, clock_}};
  Settings settings_;
};

TEST_F(HealthOfTheBox, ReportsComeAndAge) {
  Health health = Make();
  Look(health, seconds(10));
  EXPECT_EQ(Text(health, kSensors), "UNKNOWN: there is no report of hallmark-health");
  Report("space", kOk, "much");
  Look(health, seconds(10));
  EXPECT_EQ(Text(health, "space"), "OK: much");
  EXPECT_EQ(Text(health, kSensors), "none");
  Look(health, kStale - seconds(10));
  EXPECT_EQ(Text(health, "space"), "OK: much");
  Look(health, seconds(10));
  EXPECT_EQ(Text(health, "space"), "none");
  EXPECT_EQ(Text(health, kSensors), "FAILED: hallmark-health says nothing any more");
}

TEST_F(HealthOfTheBox, WhereNoneIsExpectedNothingIsSaid) {
  settings_.report_expected = false;
  Health health = Make();
  Look(health, seconds(10));
  EXPECT_EQ(health.Current().readings_size(), 0);
  EXPECT_FALSE(health.clock_not_set());
}

// chronyd may be about to set a clock that is years behind.
TEST_F(HealthOfTheBox, AClockOfWhichNobodyHasSpokenIsAwaitedForAWhile) {
  Health health = Make(), other = Make();
  EXPECT_TRUE(health.awaits_clock());
  Look(health, seconds(1));
  EXPECT_TRUE(health.awaits_clock());
  Report(kClock, kWarning, "not synchronised");
  Look(health, seconds(10));
  EXPECT_FALSE(health.awaits_clock());
  EXPECT_TRUE(health.clock_not_set());
  ASSERT_TRUE(std::filesystem::remove(settings_.report));
  Look(other, seconds(10));
  EXPECT_TRUE(other.awaits_clock());
  Look(other, kStale);
  EXPECT_FALSE(other.awaits_clock());
  settings_.report_expected = false;
  EXPECT_FALSE(Make().awaits_clock());
}

TEST_F(HealthOfTheBox, WhatIsWrongForLongIsTold) {
  Health health = Make();
  Report("disk/sda", kFailed, "the disk says that it fails");
  Look(health, seconds(10));
  Look(health, minutes(2));
  EXPECT_THAT(health.Troubles(), IsEmpty());
  Report("disk/sda", kFailed, "the disk says that it fails");
  Look(health, minutes(3));
  EXPECT_THAT(health.Troubles(), ElementsAre(Pair("disk/sda", "disk/sda: the disk says that it fails")));
  Report("disk/sda", kWarning, "worn");
  Look(health, seconds(10));
  EXPECT_THAT(health.Troubles(), IsEmpty());
}

TEST_F(HealthOfTheBox, TheClock) {
  Health health = Make();
  Report(kClock, kWarning, "not synchronised");
  Look(health, seconds(10));
  EXPECT_TRUE(health.clock_not_set());
  Report(kClock, kWarning, "not synchronised");
  Look(health, minutes(3));
  Report(kClock, kWarning, "not synchronised");
  Look(health, minutes(3));
  EXPECT_THAT(health.Troubles(), ElementsAre(Pair("clock", "clock: not synchronised")));
  Report(kClock, kOk, "synchronised");
  Look(health, seconds(10));
  EXPECT_FALSE(health.clock_not_set());
  Report(kClock, kUnknown, "adjtimex does not answer");
  Look(health, seconds(10));
  EXPECT_FALSE(health.clock_not_set());
}

TEST_F(HealthOfTheBox, AClockBehindTheLedgerIsWrong) {
  Health health = Make(kStart + std::chrono::hours(1));
  Look(health, seconds(10));
  EXPECT_EQ(Text(health, kClock), "FAILED: the clock is wrong: it is behind the ledger's last record");
  EXPECT_TRUE(health.clock_not_set());
  // Where it is synchronised it was ahead when that record was written.
  Report(kClock, kOk, "synchronised");
  Look(health, seconds(10));
  EXPECT_EQ(Text(health, kClock), "OK: synchronised");
  Report(kClock, kWarning, "not synchronised");
  Look(health, seconds(10));
  EXPECT_EQ(Text(health, kClock), "FAILED: the clock is wrong: it is behind the ledger's last record");
}

// What systemd waits for: not "the process lives", and no token that stays away.
TEST_F(HealthOfTheBox, WhetherItSignsIsToldOnceItIsKnown) {
  std::vector<tokens::TokenFacts> facts(2);
  facts[0].name = "a";
  facts[1].name = "b";
  Health health({settings_, self_test_, [&] { return facts; }, clock_, {}, {}});
  EXPECT_FALSE(health.told());
  Look(health, seconds(1));
  EXPECT_FALSE(health.told());
  facts[0].status.state = link::TokenState::kAbsent;
  facts[0].status.message = "no such token";
  Look(health, seconds(1));
  // At once, though the next test is due later.
  EXPECT_EQ(Text(health, "signing/a"), "FAILED: no such token");
  EXPECT_FALSE(health.told());
  facts[1].status.state = link::TokenState::kReady;
  Look(health, seconds(1));
  EXPECT_TRUE(health.told());
  EXPECT_EQ(Text(health, "signing/b"), "UNKNOWN: no key in it to test with yet");
  EXPECT_EQ(health.Line(), "signs in 0 of 2 tokens; failed: signing/a: no such token");
  facts[1].status.state = link::TokenState::kStarting;
  Look(health, seconds(1));
  EXPECT_TRUE(health.told());
}

TEST_F(HealthOfTheBox, WhereNothingIsTestedNothingIsAwaited) {
  settings_.test_interval = seconds(0);
  Health health({settings_, self_test_, [] { return std::vector<tokens::TokenFacts>(1); }, clock_, {}, {}});
  EXPECT_FALSE(health.told());
  Look(health, seconds(1));
  EXPECT_TRUE(health.told());
}

TEST_F(HealthOfTheBox, AllIsPublished) {
  Health health = Make();
  Report("space", kOk, "much");
  Look(health, seconds(10));
  const auto published = ReadReport(folder_.path() / "health.json");
  ASSERT_TRUE(published);
  EXPECT_EQ(published->SerializeAsString(), health.Current().SerializeAsString());
  const Health again = Make();
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "health.json")) << "that of an earlier start";
}

TEST(Alive, WhileItsPartsMove) {
  Liveness liveness;
  const Liveness::Time start{std::chrono::hours(1)};
  const auto most = Liveness::kMost;
  EXPECT_TRUE(liveness.Look(start, start, 0, 0));
  EXPECT_TRUE(liveness.Look(start + most, start + seconds(1), 0, 0));
  EXPECT_FALSE(liveness.Look(start + most, start, 0, 0)) << "the tests hang";
  const auto later = start + most;
  EXPECT_TRUE(liveness.Look(later, later, 5, 3));
  EXPECT_TRUE(liveness.Look(later + most, later + most, 6, 3)) << "messages are answered";
  EXPECT_FALSE(liveness.Look(later + 2 * most, later + 2 * most, 6, 3)) << "messages hang";
  EXPECT_TRUE(liveness.Look(later + 2 * most, later + 2 * most, 9, 0));
}

}  // namespace
}  // namespace hallmark::health
