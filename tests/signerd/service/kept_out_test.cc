#include "signerd/service/kept_out.h"

#include <gtest/gtest.h>

namespace hallmark::service {
namespace {

using namespace std::chrono_literals;

class KeptOutTest : public testing::Test {
 protected:
  // For how long it is kept out from `now_` on, as connections meet it.
  std::chrono::seconds Measured(const std::string& network) const {
    std::chrono::seconds time = 0s;
    while (kept_out_.Has(network, now_ + time)) ++time;
    return time;
  }

  KeptOut kept_out_;
  KeptOut::Time now_{1000h};
};

TEST_F(KeptOutTest, APauseIsASecondAndMakesNothingShorter) {
  for (int i = 0; i < 3; ++i) {
    kept_out_.Pause("192.0.2.1", now_);
    EXPECT_EQ(Measured("192.0.2.1"), 1s);
    now_ += 1s;
  }
  kept_out_.Add("192.0.2.2", now_);
  now_ += 1s;
  kept_out_.Add("192.0.2.2", now_);
  kept_out_.Pause("192.0.2.2", now_);
  EXPECT_EQ(Measured("192.0.2.2"), 2s);
  now_ += 2s;
  EXPECT_EQ(kept_out_.Add("192.0.2.2", now_), 4s);
}

TEST_F(KeptOutTest, ForTwiceAsLongEachTimeAndNobodyElse) {
  EXPECT_EQ(Measured("192.0.2.1"), 0s);
  for (const auto time : {1s, 2s, 4s, 8s, 16s, 32s, 64s, 64s}) {
    EXPECT_EQ(kept_out_.Add("192.0.2.1", now_), time);
    EXPECT_EQ(kept_out_.Add("192.0.2.1", now_), time);  // another connection of its own
    EXPECT_EQ(Measured("192.0.2.1"), time);
    EXPECT_EQ(Measured("192.0.2.2"), 0s);
    now_ += time;
  }
}

TEST_F(KeptOutTest, WhatLiesBackIsForgiven) {
  EXPECT_EQ(kept_out_.Add("192.0.2.1", now_), 1s);
  now_ += 1s;
  EXPECT_EQ(kept_out_.Add("192.0.2.1", now_), 2s);
  now_ += 2s + KeptOut::kForgiven;
  EXPECT_EQ(kept_out_.Add("192.0.2.1", now_), 4s);
  now_ += 4s + KeptOut::kForgiven + 1s;
  EXPECT_EQ(kept_out_.Add("192.0.2.1", now_), 1s);
}

TEST_F(KeptOutTest, NoMoreThanItSaysAreRemembered) {
  for (int i = 0; i < 3; ++i) now_ += kept_out_.Add("often", now_);
  kept_out_.Add("often", now_);
  for (std::size_t i = 0; i < KeptOut::kMost; ++i)
    kept_out_.Add(std::to_string(i), now_ + std::chrono::milliseconds(i));
  EXPECT_TRUE(kept_out_.Has("often", now_ + 3s));
  EXPECT_EQ(Measured("0"), 0s);  // the one that would have been let in first
  EXPECT_EQ(Measured("1"), 2s);
}

}  // namespace
}  // namespace hallmark::service
