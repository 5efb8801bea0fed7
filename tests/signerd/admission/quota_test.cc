#include "signerd/admission/quota.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "firmware/runtime/clock.h"
#include "sample.h"

namespace hallmark::admission {
namespace {

using namespace std::chrono_literals;
using snapshot::Partner;

constexpr std::chrono::sys_days kDay{std::chrono::year(2027) / 3 / 1};

class QuotaTest : public testing::Test {
 protected:
  Partner WithQuota(const snapshot::Quota& quota) {
    Partner partner = test::PartnerForAll("acme");
    partner.quota = quota;
    return partner;
  }
  // The reason of the refusal; what is taken is kept.
  std::string Take(const Partner& partner, std::size_t recipients = 1) {
    auto charge = quotas_.Take(partner, recipients, now_);
    const Status look = quotas_.Look(partner, recipients, now_);
    if (!charge) {
      EXPECT_EQ(look.error(), charge.error()) << "Look says the same";
      return std::string(ReasonName(charge.error().reason));
    }
    charge->Keep();
    return "";
  }
  Quotas quotas_;
  Quotas::TimePoint now_ = kDay + 12h;
};

TEST_F(QuotaTest, WithoutLimitsEverythingIsCounted) {
  const Partner partner = WithQuota({});
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(Take(partner, 3), "");
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 1000u);
  EXPECT_EQ(quotas_.Use("acme", now_).recipients, 3000u);
  EXPECT_EQ(quotas_.Use("other", now_).messages, 0u);
}

TEST_F(QuotaTest, RateLetsABurstThroughAndThenItsPace) {
  const Partner partner = WithQuota({.rate_per_second = 10, .burst = 5});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Take(partner), "") << i;
  EXPECT_EQ(Take(partner), "RATE_EXCEEDED");
  now_ += 100ms;
  EXPECT_EQ(Take(partner), "");
  EXPECT_EQ(Take(partner), "RATE_EXCEEDED");
  now_ += 99ms;
  EXPECT_EQ(Take(partner), "RATE_EXCEEDED");
  now_ += 10s;  // the bucket holds no more than the burst
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Take(partner), "") << i;
  EXPECT_EQ(Take(partner), "RATE_EXCEEDED");
}

TEST_F(QuotaTest, BurstIsTheRateWhereItIsNotSaid) {
  const Partner partner = WithQuota({.rate_per_second = 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Take(partner), "");
  EXPECT_EQ(Take(partner), "RATE_EXCEEDED");
}

TEST_F(QuotaTest, AClockThatGoesBackBlocksNobodyForLong) {
  const Partner partner = WithQuota({.rate_per_second = 10, .burst = 10});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Take(partner), "");
  now_ -= 3h;
  EXPECT_EQ(Take(partner), "RATE_EXCEEDED");
  now_ += 1s;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Take(partner), "");
}

TEST_F(QuotaTest, DaysVolumeBeginsAnewAtMidnightUtc) {
  const Partner partner = WithQuota({.messages_per_day = 2});
  EXPECT_EQ(Take(partner), "");
  EXPECT_EQ(Take(partner), "");
  EXPECT_EQ(Take(partner), "DAILY_VOLUME_EXCEEDED");
  now_ = kDay + 24h - 1ns;
  EXPECT_EQ(Take(partner), "DAILY_VOLUME_EXCEEDED");
  now_ = kDay + 24h;
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 0u);
  EXPECT_EQ(Take(partner), "");
  now_ -= 1ms;  // a thread that looked at the clock before midnight
  EXPECT_EQ(Take(partner), "");
  EXPECT_EQ(Take(partner), "DAILY_VOLUME_EXCEEDED");
}

TEST_F(QuotaTest, WhatWasCountedInTheNextDayIsGivenBackThere) {
  const Partner partner = WithQuota({.messages_per_day = 2, .recipients_per_day = 10});
  now_ = kDay + 24h;
  EXPECT_EQ(Take(partner, 1), "");
  {
    // By a thread that looked at the clock before midnight.
    const auto unsigned_one = quotas_.Take(partner, 9, now_ - 1ms);
    ASSERT_TRUE(unsigned_one);
    EXPECT_EQ(Take(partner, 1), "DAILY_VOLUME_EXCEEDED");
  }
  EXPECT_FALSE(quotas_.Take(partner, 10, now_ - 1ms)) << "of its recipients";
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 1u);
  EXPECT_EQ(quotas_.Use("acme", now_).recipients, 1u);
}

TEST_F(QuotaTest, RecipientsOfADay) {
  const Partner partner = WithQuota({.recipients_per_day = 10});
  EXPECT_EQ(Take(partner, 8), "");
  EXPECT_EQ(Take(partner, 3), "DAILY_VOLUME_EXCEEDED");
  EXPECT_EQ(Take(partner, 11), "RECIPIENTS_EXCEEDED") << "no day has room for it";
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 1u) << "what is refused is not counted";
  EXPECT_EQ(Take(partner, 0), "") << "a message without recipients counts as one with one";
  EXPECT_EQ(Take(partner, 1), "");
  EXPECT_EQ(Take(partner, 1), "DAILY_VOLUME_EXCEEDED");
}

TEST_F(QuotaTest, WhatIsNotSignedIsGivenBackToTheDay) {
  const Partner partner = WithQuota({.messages_per_day = 1});
  {
    const auto charge = quotas_.Take(partner, 5, now_);
    ASSERT_TRUE(charge);
    EXPECT_EQ(quotas_.Use("acme", now_).recipients, 5u);
    EXPECT_EQ(Take(partner), "DAILY_VOLUME_EXCEEDED");
  }
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 0u);
  auto first = quotas_.Take(partner, 5, now_);
  ASSERT_TRUE(first);
  Charge moved = std::move(*first);
  moved.Keep();
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 1u);
}

TEST_F(QuotaTest, RestoreCountsIntoItsDay) {
  const Partner partner = WithQuota({.messages_per_day = 100});
  quotas_.Restore("acme", 99, 200, kDay);
  quotas_.Restore("old", 99, 200, kDay - std::chrono::days(1));
  EXPECT_EQ(quotas_.Use("acme", now_).recipients, 200u);
  EXPECT_EQ(quotas_.Use("old", now_).messages, 0u);
  EXPECT_EQ(Take(partner), "");
  EXPECT_EQ(Take(partner), "DAILY_VOLUME_EXCEEDED");
}

TEST_F(QuotaTest, RetainForgetsPartnersThatAreGoneWhenTheirDayIsOver) {
  EXPECT_EQ(Take(WithQuota({})), "");
  snapshot::Snapshot view;
  view.partners["acme"] = WithQuota({});
  quotas_.Retain(view, now_ + 24h);
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 1u);
  // Taken out by a wrong file, and put back: it is the same day's volume.
  view.partners.erase("acme");
  quotas_.Retain(view, now_);
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 1u);
  quotas_.Retain(view, now_ + 24h);
  EXPECT_EQ(quotas_.Use("acme", now_).messages, 0u);
}

TEST_F(QuotaTest, ManyThreadsTakeNoMoreThanThereIs) {
  const Partner partner = WithQuota({.rate_per_second = 700, .burst = 700, .messages_per_day = 600});
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        auto charge = quotas_.Take(partner, 2, now_);
        if (!charge) continue;
        charge->Keep();
        ++taken;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken.load(), 600);
  EXPECT_EQ(quotas_.Use("acme", now_).recipients, 1200u);
}

}  // namespace
}  // namespace hallmark::admission
