#include "tools/milter/own_addresses.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hallmark::milter {
namespace {

using namespace std::chrono_literals;
using Addresses = std::vector<boost::asio::ip::address>;

boost::asio::ip::address Address(const char* text) { return boost::asio::ip::make_address(text); }

class MilterOwnAddresses : public testing::Test {
 protected:
  OwnAddresses Open() {
    return {[this] {
              ++looks;
              return listed;
            },
            *listed, start};
  }

  Result<Addresses> listed = Addresses{Address("192.0.2.10"), Address("2001:db8::10"), Address("fe80::1")};
  int looks = 0;
  const OwnAddresses::Time start{};
};

TEST_F(MilterOwnAddresses, AreTheSameInEveryForm) {
  auto own = Open();
  for (const char* text : {"192.0.2.10", "::ffff:192.0.2.10", "2001:db8::10", "fe80::1", "fe80::1%1"}) {
    EXPECT_TRUE(own.Has(Address(text), start)) << text;
  }
  for (const char* text : {"192.0.2.11", "::192.0.2.10", "2001:db8::11", "fe80::2", "0.0.0.0", "::"}) {
    EXPECT_FALSE(own.Has(Address(text), start)) << text;
  }
}

TEST_F(MilterOwnAddresses, OneThatComesLaterCountsAndOneThatWentDoesNot) {
  auto own = Open();
  listed = Addresses{Address("192.0.2.77")};
  EXPECT_FALSE(own.Has(Address("192.0.2.77"), start + 999ms));
  EXPECT_EQ(looks, 0);
  EXPECT_TRUE(own.Has(Address("192.0.2.77"), start + 1s));
  EXPECT_FALSE(own.Has(Address("192.0.2.10"), start + 1s));
  EXPECT_EQ(looks, 1) << "once a second";
}

TEST_F(MilterOwnAddresses, WhatWasKnownHoldsWhileTheSystemDoesNotSay) {
  auto own = Open();
  listed = MakeError(Reason::kIoFailed, "no descriptors left");
  for (int i = 1; i < 4; ++i) EXPECT_TRUE(own.Has(Address("192.0.2.10"), start + i * 1s));
  listed = Addresses{Address("192.0.2.77")};
  EXPECT_TRUE(own.Has(Address("192.0.2.77"), start + 5s));
}

TEST(MilterInterfaces, HaveLoopbackAmongThem) {
  const auto listed = InterfaceAddresses();
  ASSERT_TRUE(listed) << listed.error().message;
  EXPECT_TRUE(std::ranges::any_of(*listed, [](const auto& address) { return address.is_loopback(); }));
}

}  // namespace
}  // namespace hallmark::milter
