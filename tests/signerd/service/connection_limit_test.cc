#include "signerd/service/connection_limit.h"

#include <gtest/gtest.h>

namespace hallmark::service {
namespace {

using namespace std::chrono_literals;

class ConnectionLimitTest : public testing::Test {
 protected:
  // How many of the network are taken, one after the other.
  std::size_t TakeAll(const std::string& network) {
    std::size_t taken = 0;
    for (++open_[network]; limit_.Take(network, now_); ++taken) ++open_[network];
    --open_[network];
    return taken;
  }

  ConnectionLimit::Counts open_;
  int counted_ = 0;
  ConnectionLimit::Time now_{1000h};
  ConnectionLimit limit_{60, [this] {
                           ++counted_;
                           return open_;
                         }};
};

TEST_F(ConnectionLimitTest, OneGetsHalfAndThereIsRoomForEachOther) {
  EXPECT_EQ(TakeAll("192.0.2.1"), 30u);
  EXPECT_EQ(TakeAll("192.0.2.2"), 15u);
  EXPECT_EQ(TakeAll("192.0.2.3"), 8u);
  EXPECT_EQ(TakeAll("2001:db8::/64"), 4u);
  EXPECT_GE(TakeAll("192.0.2.4"), 1u);
  EXPECT_LE(limit_.all(), limit_.most());
}

TEST_F(ConnectionLimitTest, WhatEndedIsFoundWhenThereSeemsToBeNoRoom) {
  EXPECT_EQ(TakeAll("192.0.2.1"), 30u);
  open_["192.0.2.1"] = 20;
  EXPECT_FALSE(limit_.Take("192.0.2.1", now_ + ConnectionLimit::kRecount - 1ms));  // it was counted just now
  now_ += ConnectionLimit::kRecount;
  EXPECT_EQ(TakeAll("192.0.2.1"), 10u);
  EXPECT_EQ(limit_.Of("192.0.2.1"), 30u);
  open_.clear();
  now_ += ConnectionLimit::kRecount;
  EXPECT_EQ(TakeAll("192.0.2.1"), 30u);
}

TEST_F(ConnectionLimitTest, AsLongAsThereIsRoomNothingIsCounted) {
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(limit_.Take("192.0.2.1", now_));
  EXPECT_EQ(counted_, 0);
  (void)TakeAll("192.0.2.1");
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(limit_.Take("192.0.2.1", now_));
  EXPECT_EQ(counted_, 1);
}

}  // namespace
}  // namespace hallmark::service
