#include "signerd/pipeline/deduplication.h"

#include <gtest/gtest.h>

#include "log_text.h"

namespace hallmark::pipeline {
namespace {

using Requests = Deduplication<int>;
using Outcome = Requests::Outcome;
using std::chrono::seconds;

constexpr std::chrono::sys_seconds kNow{seconds(1'700'000'000)};

Fingerprint Print(std::uint8_t octet) {
  Fingerprint print;
  print.body.fill(octet);
  return print;
}

// The same message, whose body is hashed in another form.
Fingerprint InAnotherWay(std::uint8_t octet) {
  Fingerprint print = Print(octet);
  print.way = 1;
  return print;
}

TEST(Deduplication, TheFirstIsCarriedOutAndTheOthersGetItsAnswer) {
  Requests requests({});
  const auto name = Requests::NameOf("r", "1");
  EXPECT_EQ(requests.Begin(name, Print(1), kNow, 10).outcome, Outcome::kFirst);
  EXPECT_EQ(requests.Begin(name, Print(1), kNow, 11).outcome, Outcome::kWaits);
  EXPECT_EQ(requests.Begin(name, Print(1), kNow, 12).outcome, Outcome::kWaits);
  EXPECT_EQ(requests.Begin(name, Print(2), kNow, 13).outcome, Outcome::kReused);
  EXPECT_EQ(requests.Begin(Requests::NameOf("s", "1"), Print(2), kNow, 14).outcome, Outcome::kFirst)
      << "another relay's request of the same name is another request";
  EXPECT_EQ(requests.Finish(name, 40, 2, kNow), (std::vector{11, 12}));
  const auto found = requests.Begin(name, Print(1), kNow + seconds(599), 15);
  EXPECT_EQ(found.outcome, Outcome::kAnswered);
  EXPECT_EQ(found.first, 40u);
  EXPECT_EQ(found.count, 2u);
  EXPECT_EQ(requests.Begin(name, Print(2), kNow + seconds(599), 16).outcome, Outcome::kReused);
  EXPECT_EQ(requests.Begin(name, Print(2), kNow + seconds(600), 17).outcome, Outcome::kFirst);
}

TEST(Deduplication, WhatFailedIsForgotten) {
  Requests requests({});
  const auto name = Requests::NameOf("r", "1");
  requests.Begin(name, Print(1), kNow, 10);
  requests.Begin(name, Print(1), kNow, 11);
  EXPECT_EQ(requests.Forget(name), std::vector{11});
  EXPECT_EQ(requests.Begin(name, Print(2), kNow, 12).outcome, Outcome::kFirst);
}

// The body hash in another form says nothing of whether it is the same message; what was asked for does.
TEST(Deduplication, WhatWasAnsweredInAnotherWayIsCarriedOutAgain) {
  Requests requests({});
  const auto name = Requests::NameOf("r", "1");
  requests.Begin(name, Print(1), kNow, 10);
  EXPECT_EQ(requests.Begin(name, InAnotherWay(2), kNow, 11).outcome, Outcome::kWaits);
  EXPECT_EQ(requests.Finish(name, 40, 2, kNow), std::vector{11});
  Fingerprint other = InAnotherWay(2);
  other.asked.fill(1);
  EXPECT_EQ(requests.Begin(name, other, kNow, 12).outcome, Outcome::kReused);
  EXPECT_EQ(requests.Begin(name, InAnotherWay(2), kNow + seconds(300), 11).outcome, Outcome::kFirst);
  // The first answer's time is over while the second is under way, which is no harm to it.
  EXPECT_EQ(requests.Begin(name, InAnotherWay(2), kNow + seconds(600), 13).outcome, Outcome::kWaits);
  EXPECT_EQ(requests.Finish(name, 50, 2, kNow + seconds(600)), std::vector{13});
  const auto found = requests.Begin(name, InAnotherWay(2), kNow + seconds(1199), 14);
  EXPECT_EQ(found.outcome, Outcome::kAnswered);
  EXPECT_EQ(found.first, 50u);
  EXPECT_EQ(requests.Begin(name, InAnotherWay(2), kNow + seconds(1200), 15).outcome, Outcome::kFirst);
  EXPECT_EQ(requests.forgotten(), 0u);
}

TEST(Deduplication, AnAnswerThatIsDroppedIsNotGivenAgain) {
  Requests requests({});
  const auto name = Requests::NameOf("r", "1");
  requests.Begin(name, Print(1), kNow, 10);
  requests.Finish(name, 40, 2, kNow);
  requests.Drop(name, 39);
  EXPECT_EQ(requests.Begin(name, Print(1), kNow, 11).outcome, Outcome::kAnswered);
  requests.Drop(name, 40);
  EXPECT_EQ(requests.Begin(name, Print(1), kNow, 12).outcome, Outcome::kFirst);
  requests.Drop(name, 40);  // by another request, which saw it before
  EXPECT_EQ(requests.Begin(name, Print(1), kNow, 13).outcome, Outcome::kWaits);
}

// As it was before the restart: the first answer could not be given again, or it would not have been signed twice.
TEST(Deduplication, OfTwoAnswersBeforeARestartTheLastCounts) {
  Requests requests({});
  const auto name = Requests::NameOf("r", "1");
  requests.Recall(name, Print(1), 40, 2, kNow);
  requests.Recall(name, InAnotherWay(2), 50, 2, kNow + seconds(300));
  const auto found = requests.Begin(name, InAnotherWay(2), kNow + seconds(600), 10);
  EXPECT_EQ(found.outcome, Outcome::kAnswered);
  EXPECT_EQ(found.first, 50u);
}

TEST(Fingerprint, IsReadBackAsItWasWritten) {
  Fingerprint print = InAnotherWay(7);
  print.asked.fill(9);
  EXPECT_EQ(Fingerprint::From(print.octets()), print);
  EXPECT_EQ(Fingerprint::From(std::string(32, 'x')), std::nullopt) << "that of older versions";
}

TEST(Deduplication, TheOldestGoFirstWhenThereAreTooMany) {
  Requests requests({seconds(600), 100});
  for (int i = 0; i < 1000; ++i) {
    const auto name = Requests::NameOf("r", std::to_string(i));
    ASSERT_EQ(requests.Begin(name, Print(1), kNow, i).outcome, Outcome::kFirst);
    requests.Finish(name, static_cast<std::uint64_t>(i), 1, kNow);
    ASSERT_LE(requests.size(), 101u);
  }
  EXPECT_EQ(requests.Begin(Requests::NameOf("r", "950"), Print(1), kNow, 0).outcome, Outcome::kAnswered);
  EXPECT_EQ(requests.Begin(Requests::NameOf("r", "850"), Print(1), kNow, 0).outcome, Outcome::kFirst);
}

// Ten answers a second, of which 50 are remembered: for a minute that is five seconds instead.
TEST(Deduplication, WhatIsForgottenBeforeItsTimeIsCountedAndToldOnceAMinute) {
  test::LogText log;
  const auto told = [&] {
    const std::string text = log.text();
    int lines = 0;
    for (std::size_t at = 0; (at = text.find("forgotten before their 60 s are over", at)) != std::string::npos; ++at)
      ++lines;
    return lines;
  };
  Requests requests({seconds(60), 50});
  const auto answer = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      const auto name = Requests::NameOf("r", std::to_string(i));
      requests.Begin(name, Print(1), kNow + seconds(i / 10), i);
      requests.Finish(name, static_cast<std::uint64_t>(i), 1, kNow + seconds(i / 10));
    }
  };
  answer(0, 50);
  EXPECT_EQ(requests.forgotten(), 0u);
  answer(50, 600);
  EXPECT_EQ(requests.forgotten(), 550u);
  EXPECT_EQ(told(), 1);
  answer(600, 700);
  EXPECT_EQ(requests.forgotten(), 650u);
  EXPECT_EQ(told(), 2);
  // Those that are forgotten in their time are not.
  requests.Begin(Requests::NameOf("r", "last"), Print(1), kNow + seconds(1000), 0);
  EXPECT_EQ(requests.forgotten(), 650u);
}

TEST(Deduplication, WhereNothingIsToBeRememberedNothingIsForgotten) {
  Requests requests({seconds(60), 0});
  const auto name = Requests::NameOf("r", "1");
  requests.Begin(name, Print(1), kNow, 0);
  requests.Finish(name, 1, 1, kNow);
  EXPECT_EQ(requests.Begin(name, Print(1), kNow, 0).outcome, Outcome::kFirst);
  EXPECT_EQ(requests.forgotten(), 0u);
}

}  // namespace
}  // namespace hallmark::pipeline
