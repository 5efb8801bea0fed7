#include "signerd/tokens/choice.h"

#include <gtest/gtest.h>

#include <array>

#include "signerd/tokens/latency.h"

namespace hallmark::tokens {
namespace {

using namespace std::chrono_literals;

TEST(Choice, TheLeastLoadedOfEqualsSigns) {
  const std::array tokens = {Candidate{.load = 3, .sessions = 4, .service = 0.01},
                             Candidate{.load = 1, .sessions = 4, .service = 0.01}};
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 1);
}

TEST(Choice, AFastTokenGetsMoreThanASlowOne) {
  std::array tokens = {Candidate{.sessions = 4, .service = 0.001}, Candidate{.sessions = 4, .service = 0.004}};
  std::array<std::size_t, 2> given = {};
  for (int i = 0; i < 100; ++i) {
    const auto chosen = Choose(tokens, Doubt::kSick);
    ASSERT_TRUE(chosen);
    ++tokens[*chosen].load;
    ++given[*chosen];
  }
  EXPECT_GT(given[0], 70);
  EXPECT_GT(given[1], 10);
}

TEST(Choice, MoreSessionsTakeMore) {
  const std::array tokens = {Candidate{.load = 8, .sessions = 2, .service = 0.01},
                             Candidate{.load = 8, .sessions = 16, .service = 0.01}};
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 1);
}

TEST(Choice, AnUnknownPaceIsTriedFirstAndTurnsAreTaken) {
  std::array tokens = {Candidate{.load = 1}, Candidate{.load = 0}, Candidate{.load = 0, .service = 0.001}};
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 1);
  tokens[1].load = 2;
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 0);
}

TEST(Choice, AboutEqualsTakeTurns) {
  std::array tokens = {Candidate{.service = 0.0010, .turn = 2}, Candidate{.service = 0.0012, .turn = 1}};
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 1);
  tokens[1].turn = 3;
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 0);
  tokens[1].service = 0.01;
  tokens[1].turn = 0;
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 0);
}

TEST(Choice, DoubtCountsBeforeLoad) {
  std::array tokens = {Candidate{.doubt = Doubt::kSick}, Candidate{.load = 1000, .service = 1}};
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 1);
  tokens[1].doubt = Doubt::kStarting;
  EXPECT_EQ(Choose(tokens, Doubt::kLacking), 0);  // a sick one is better than none
  EXPECT_EQ(Choose(tokens, Doubt::kNone), std::nullopt);
}

TEST(Choice, ATokenWithoutTheKeyIsTheLast) {
  const std::array tokens = {Candidate{.doubt = Doubt::kLacking}, Candidate{.doubt = Doubt::kAway}};
  EXPECT_EQ(Choose(tokens, Doubt::kSick), std::nullopt);
  EXPECT_EQ(Choose(tokens, Doubt::kLacking), 1);  // a relay then hears that a token is down, and tries again
}

TEST(Choice, WhatWasTriedIsNotTriedAgain) {
  std::array tokens = {Candidate{.tried = true}, Candidate{.load = 5, .service = 1}};
  EXPECT_EQ(Choose(tokens, Doubt::kSick), 1);
  tokens[1].tried = true;
  EXPECT_EQ(Choose(tokens, Doubt::kSick), std::nullopt);
}

TEST(LatencyTest, ServiceIsWithoutTheWaitForASession) {
  Latency latency;
  for (int i = 0; i < 50; ++i) latency.Learn(0.02s, 8, 4);  // two rounds of 10 ms
  EXPECT_NEAR(latency.service(), 0.01, 1e-9);
  Latency idle;
  idle.Learn(0.01s, 1, 4);
  EXPECT_NEAR(idle.service(), 0.01, 1e-9);
}

TEST(LatencyTest, PatienceFollowsWhatIsUsual) {
  Latency latency;
  EXPECT_EQ(latency.Patience(), 250ms);
  latency.Learn(0.003s, 1, 4);
  EXPECT_EQ(latency.Patience(), 250ms);
  for (int i = 0; i < 100; ++i) latency.Learn(0.8s, 1, 1);
  EXPECT_GT(latency.Patience(), 3s);
  EXPECT_LT(latency.Patience(), 3.3s);
}

TEST(LatencyTest, OldTimesAreForgotten) {
  Latency latency;
  latency.Learn(1s, 1, 1);
  for (int i = 0; i < 60; ++i) latency.Learn(0.01s, 1, 1);
  EXPECT_LT(latency.service(), 0.02);
}

}  // namespace
}  // namespace hallmark::tokens
