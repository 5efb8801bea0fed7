#include "signerd/pipeline/intake.h"

#include <gtest/gtest.h>

#include <vector>

namespace hallmark::pipeline {
namespace {

std::vector<Intake::Place*> Fill(Intake& intake, const char* partner, const char* relay = "relay") {
  std::vector<Intake::Place*> places;
  while (auto* place = intake.Enter(partner, relay)) places.push_back(place);
  return places;
}

TEST(Intake, OnePartnerGetsHalfAndLeavesRoomForOthers) {
  Intake intake(1000);
  EXPECT_NEAR(static_cast<double>(Fill(intake, "flood").size() + Fill(intake, "flood", "another").size()), 500, 15);
  EXPECT_NEAR(static_cast<double>(Fill(intake, "second").size() + Fill(intake, "second", "another").size()), 250, 15);
  EXPECT_GE(Fill(intake, "third").size(), 100u);
  EXPECT_NE(intake.Enter("quiet", "relay"), nullptr);
}

TEST(Intake, OneRelayLeavesRoomForTheOthersOfItsPartner) {
  Intake intake(2048);
  EXPECT_NEAR(static_cast<double>(Fill(intake, "own", "flood").size()), 0.9 * 1024, 20);
  const auto quiet = Fill(intake, "own", "quiet");
  EXPECT_GE(quiet.size(), 90u);
  EXPECT_GE(Fill(intake, "own", "third").size(), 9u);
  EXPECT_EQ(intake.Enter("own", "flood"), nullptr);
  for (auto* place : quiet) intake.Leave(*place);
  EXPECT_NE(intake.Enter("own", "quiet"), nullptr);
}

// As messages are answered, two floods of one partner come to hold the same.
TEST(Intake, RelaysOfOnePartnerComeToEqualRoom) {
  Intake intake(2048);
  std::vector<Intake::Place*> held[2] = {Fill(intake, "own", "first"), Fill(intake, "own", "second")};
  for (int i = 0; i < 5000; ++i) {
    // First in, first out: the first has more, so more of it is answered.
    auto& answered =
        i % static_cast<int>(held[0].size() + held[1].size()) < static_cast<int>(held[0].size()) ? held[0] : held[1];
    intake.Leave(*answered.back());
    answered.pop_back();
    for (auto* place : Fill(intake, "own", "first")) held[0].push_back(place);
    for (auto* place : Fill(intake, "own", "second")) held[1].push_back(place);
  }
  EXPECT_NEAR(static_cast<double>(held[0].size()), static_cast<double>(held[1].size()), 30);
}

TEST(Intake, WhoLeavesMakesRoom) {
  Intake intake(10);
  const auto places = Fill(intake, "a");
  EXPECT_EQ(places.size(), 5u);
  intake.Leave(*places.front());
  EXPECT_EQ(intake.in_flight(), 4u);
  EXPECT_NE(intake.Enter("a", "relay"), nullptr);
  EXPECT_EQ(intake.Enter("a", "relay"), nullptr);
}

TEST(Intake, OneCreditIsEnoughForOneRelay) {
  Intake intake(1);
  auto* place = intake.Enter("a", "relay");
  ASSERT_NE(place, nullptr);
  EXPECT_EQ(intake.Enter("a", "relay"), nullptr);
  EXPECT_EQ(intake.Enter("b", "relay"), nullptr);
  intake.Leave(*place);
  EXPECT_NE(intake.Enter("b", "relay"), nullptr);
}

}  // namespace
}  // namespace hallmark::pipeline
