#include "firmware/health/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firmware/health/console.h"
#include "tree.h"

namespace hallmark::health {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'790'000'000)};

Report ReportOf(std::initializer_list<Reading> readings) {
  Report report;
  report.mutable_observe_time()->set_seconds(kNow.time_since_epoch().count());
  for (const Reading& reading : readings) *report.add_readings() = reading;
  Sort(report);
  return report;
}

Reading Make(std::string_view name, Level level, std::string_view message = "") {
  return MakeReading(name, level, message, kNow);
}

TEST(HealthReport, IsReadAsItWasWritten) {
  const test::Tree tree;
  const Report report = ReportOf({Make("space", kWarning, "9 MiB"), Make("clock", kOk, "good")});
  ASSERT_TRUE(WriteReport(tree.path() / "report.json", report));
  const auto read = ReadReport(tree.path() / "report.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->SerializeAsString(), report.SerializeAsString());
  EXPECT_EQ(read->readings(0).name(), "clock");
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(tree.path() / "report.json").permissions(),
            perms::owner_read | perms::owner_write | perms::group_read | perms::others_read);
}

TEST(HealthReport, WhatIsNone) {
  for (const char* text : {"", "{", "[]", "null1", "\xff\xfe", R"({"readings":[{"level":"HEALTH_LEVEL_OK"}]})",
                           R"({"readings":[{"name":"a"}]})", R"({"readings":[{"name":"a","level":99}]})",
                           R"({"observeTime":"yesterday"})"}) {
    const auto report = ParseReport(text);
    EXPECT_TRUE(!report && report.error().reason == Reason::kInvalidArgument) << text;
  }
  std::string many = R"({"readings":[)";
  for (int i = 0; i < 257; ++i) many += std::string(i == 0 ? "" : ",") + R"({"name":"a","level":1})";
  EXPECT_FALSE(ParseReport(many + "]}"));
  EXPECT_TRUE(ParseReport(R"({"of":"a later version"})"));
  EXPECT_EQ(ReadReport("/nowhere").error().reason, Reason::kNotFound);
}

TEST(HealthReport, TextIsMadeHarmless) {
  const auto report = ParseReport(R"({"readings":[{"name":"a\u001b[2J","level":1,"message":"\n\u0007é"}]})");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->readings(0).name(), "a?[2J");
  EXPECT_EQ(report->readings(0).message(), "????");
  EXPECT_EQ(Make("a", kOk, std::string(500, 'x')).message().size(), 200U);
}

// Those of a token's name are its reading's, by which signerd finds it again.
TEST(HealthReport, ATokensNameStandsWholeInItsReading) {
  const std::string name = std::string(kSigning) + std::string(55, '~') + " ";  // as long as hallmark.toml may have it
  EXPECT_EQ(Make(name, kOk).name(), name);
}

TEST(HealthReport, TheWorstCounts) {
  EXPECT_EQ(Worst(ReportOf({})), kOk);
  EXPECT_EQ(Worst(ReportOf({Make("a", kUnknown)})), kOk);
  EXPECT_EQ(Worst(ReportOf({Make("a", kUnknown), Make("b", kWarning), Make("c", kOk)})), kWarning);
  EXPECT_EQ(Worst(ReportOf({Make("a", kFailed), Make("b", kWarning)})), kFailed);
}

TEST(HealthReport, OldOnesSayNothing) {
  const Report report = ReportOf({});
  EXPECT_FALSE(IsStale(report, kNow + kStale));
  EXPECT_TRUE(IsStale(report, kNow + kStale + std::chrono::seconds(1)));
  EXPECT_TRUE(IsStale(report, kNow - kStale - std::chrono::seconds(1)));
}

TEST(Signing, NeedsAGoodTestSignature) {
  EXPECT_EQ(JudgeSigning(MakeError(Reason::kNotFound, "no file"), kNow).level, kFailed);
  EXPECT_EQ(JudgeSigning(ReportOf({Make("clock", kOk)}), kNow).level, kUnknown);
  EXPECT_EQ(JudgeSigning(ReportOf({Make("signing/main", kUnknown, kNoKey)}), kNow).level, kUnknown);
  EXPECT_EQ(JudgeSigning(ReportOf({Make("signing/main", kOk), Make("space", kFailed)}), kNow).level, kOk);
  EXPECT_EQ(JudgeSigning(ReportOf({Make("signing/a", kOk), Make("signing/b", kFailed)}), kNow).level, kFailed);
  EXPECT_EQ(JudgeSigning(ReportOf({Make("signing/a", kUnknown, kNoKey), Make("signing/b", kOk)}), kNow).level, kOk);
  EXPECT_EQ(JudgeSigning(ReportOf({Make("signing/a", kOk)}), kNow + std::chrono::hours(1)).level, kFailed);
  EXPECT_EQ(JudgeSigning(ReportOf({Make("signing/a", kWarning, "too busy")}), kNow).level, kOk);
}

// A module that hangs: what never signed must not pass for what does.
TEST(Signing, ATestThatDidNotComeToItsEndIsNone) {
  const Reading expired = Make("signing/a", kUnknown, "s: the deadline passed");
  const Verdict verdict = JudgeSigning(ReportOf({expired}), kNow);
  EXPECT_EQ(verdict.level, kWarning);
  EXPECT_EQ(verdict.message, "not told yet: signing/a: s: the deadline passed");
  EXPECT_EQ(JudgeSigning(ReportOf({expired, Make("signing/b", kOk)}), kNow).level, kWarning);
  EXPECT_EQ(JudgeSigning(ReportOf({expired, Make("signing/b", kUnknown, kNoKey)}), kNow).level, kWarning);
  EXPECT_EQ(JudgeSigning(ReportOf({expired, Make("signing/b", kFailed)}), kNow).level, kFailed);
}

TEST(ConsoleLines, OneWhenSigningBeginsAndOneForEachChange) {
  Console console;
  const auto look = [&](const Result<Report>& report) { return console.Look(report, kNow, std::chrono::seconds(42)); };
  EXPECT_THAT(look(MakeError(Reason::kNotFound, "no file")), IsEmpty());
  EXPECT_THAT(look(ReportOf({Make("signing/main", kOk, "in 3 ms")})), ElementsAre("hallmark: signing; up for 42 s"));
  EXPECT_THAT(look(ReportOf({Make("signing/main", kOk, "in 4 ms")})), IsEmpty());
  const Reading clock = Make("clock", kWarning, "not synchronised");
  EXPECT_THAT(look(ReportOf({Make("signing/main", kOk), clock})),
              ElementsAre("hallmark: warning: clock: not synchronised"));
  EXPECT_THAT(look(ReportOf({Make("signing/main", kOk), clock, Make("disk/sda", kFailed, "4 % spare")})),
              ElementsAre("hallmark: failed: disk/sda"));
  EXPECT_THAT(look(ReportOf({Make("signing/main", kOk), clock, Make("disk/sda", kFailed, "3 % spare")})), IsEmpty());
  EXPECT_THAT(look(ReportOf({Make("signing/main", kFailed, "the token is down")})),
              ElementsAre("hallmark: failed: signing/main: the token is down"));
  EXPECT_THAT(look(MakeError(Reason::kNotFound, "no file")), ElementsAre("hallmark: failed: signerd does not run"));
  EXPECT_THAT(look(ReportOf({Make("signing/main", kOk)})), ElementsAre("hallmark: all is well"));
}

TEST(ConsoleLines, AtTheFirstBootThereIsNoKey) {
  Console console;
  EXPECT_THAT(console.Look(ReportOf({Make("signing/main", kUnknown, kNoKey)}), kNow, std::chrono::seconds(7)),
              ElementsAre("hallmark: signing; up for 7 s; no key to test with yet"));
}

TEST(ConsoleLines, ATestThatDoesNotComeToItsEndIsNoSigning) {
  Console console;
  const Report hangs = ReportOf({Make("signing/main", kUnknown, "s: the deadline passed")});
  for (int i = 0; i < 30; ++i) EXPECT_THAT(console.Look(hangs, kNow, std::chrono::seconds(7)), IsEmpty());
  EXPECT_THAT(console.Look(hangs, kNow, std::chrono::seconds(7)),
              ElementsAre("hallmark: warning: not told yet: signing/main: s: the deadline passed"));
  EXPECT_THAT(console.Look(ReportOf({Make("signing/main", kOk)}), kNow, std::chrono::seconds(9)),
              ElementsAre("hallmark: signing; up for 9 s", "hallmark: all is well"));
}

TEST(ConsoleLines, ABoxThatDoesNotComeUpSaysWhy) {
  Console console;
  const Report starting = ReportOf({Make("signing/main", kFailed, "it is being started")});
  for (int i = 0; i < 30; ++i) EXPECT_THAT(console.Look(starting, kNow, std::chrono::seconds(7)), IsEmpty());
  EXPECT_THAT(console.Look(starting, kNow, std::chrono::seconds(7)),
              ElementsAre("hallmark: failed: signing/main: it is being started"));
  EXPECT_THAT(console.Look(ReportOf({Make("signing/main", kOk)}), kNow, std::chrono::seconds(9)),
              ElementsAre("hallmark: signing; up for 9 s", "hallmark: all is well"));
}

}  // namespace
}  // namespace hallmark::health
