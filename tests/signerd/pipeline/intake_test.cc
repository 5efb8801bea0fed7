#include "signerd/pipeline/intake.h"

#include <gtest/gtest.h>

namespace hallmark::pipeline {
namespace {

int Fill(Intake& intake, const char* relay) {
  int entered = 0;
  while (intake.Enter(relay)) ++entered;
  return entered;
}

TEST(Intake, OneRelayGetsHalfAndLeavesRoomForOthers) {
  Intake intake(100);
  EXPECT_EQ(Fill(intake, "flood"), 50);
  EXPECT_EQ(Fill(intake, "second"), 25);
  EXPECT_GE(Fill(intake, "third"), 10);
  EXPECT_TRUE(intake.Enter("quiet"));
}

TEST(Intake, WhoLeavesMakesRoom) {
  Intake intake(10);
  EXPECT_EQ(Fill(intake, "a"), 5);
  intake.Leave("a");
  EXPECT_EQ(intake.in_flight(), 4u);
  EXPECT_TRUE(intake.Enter("a"));
  EXPECT_FALSE(intake.Enter("a"));
}

TEST(Intake, OneCreditIsEnoughForOneRelay) {
  Intake intake(1);
  EXPECT_TRUE(intake.Enter("a"));
  EXPECT_FALSE(intake.Enter("a"));
  EXPECT_FALSE(intake.Enter("b"));
  intake.Leave("a");
  EXPECT_TRUE(intake.Enter("b"));
}

}  // namespace
}  // namespace hallmark::pipeline
