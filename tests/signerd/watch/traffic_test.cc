#include "signerd/watch/traffic.h"

#include <gtest/gtest.h>

#include <thread>

#include "signerd/watch/signing_metrics.h"

namespace hallmark::watch {
namespace {

pipeline::Answered Signed(std::string_view partner, std::string_view domain, std::string_view author) {
  pipeline::Answered answered;
  answered.partner = partner;
  answered.signing_domain = domain;
  answered.author = author;
  answered.octets = 100;
  return answered;
}

pipeline::Answered Refused(std::string_view partner, Reason reason) {
  pipeline::Answered answered;
  answered.partner = partner;
  answered.refusal = reason;
  return answered;
}

TEST(Traffic, CountsWhatSeveralThreadsAdd) {
  Traffic traffic;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) traffic.Add(Signed("acme", "example.com", "a@example.com"));
      traffic.Add(Refused("acme", Reason::kRateExceeded));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Tick tick = traffic.Take();
  ASSERT_EQ(tick.size(), 2u);
  const Count& count = tick.at({"acme", "example.com"});
  EXPECT_EQ(count.signed_messages, 4000u);
  EXPECT_EQ(count.octets, 400'000u);
  EXPECT_LE(count.authors.size(), 4 * Traffic::kMostAuthors);
  EXPECT_EQ(tick.at({"acme", ""}).refused, 4u);
  EXPECT_TRUE(traffic.Take().empty());
  EXPECT_EQ(traffic.dropped(), 0u);
}

TEST(Traffic, RefusalsForWhatTheSenderDidNotDoAreNotCounted) {
  Traffic traffic;
  for (const Reason reason : {Reason::kTokenDown, Reason::kOverloaded, Reason::kLedgerUnavailable, Reason::kNoActiveKey,
                              Reason::kPartnerSuspended, Reason::kPartnerRevoked}) {
    traffic.Add(Refused("acme", reason));
  }
  EXPECT_TRUE(traffic.Take().empty());
}

TEST(Traffic, DropsAndCountsWhatDoesNotFit) {
  Traffic traffic;
  for (std::size_t i = 0; i < Traffic::kMostKeys + 100; ++i) {
    traffic.Add(Signed("acme", "d" + std::to_string(i) + ".example", "a@example.com"));
  }
  const Tick tick = traffic.Take();
  EXPECT_LE(tick.size(), Traffic::kMostKeys);
  EXPECT_EQ(tick.size() + traffic.dropped(), Traffic::kMostKeys + 100);
}

double ValueOf(const MetricFamilies& families, const std::string& name, const std::string& label) {
  for (const auto& family : families) {
    if (family.name != name) continue;
    for (const auto& metric : family.metric) {
      if (metric.label.empty() ? label.empty() : metric.label.front().value == label) return metric.counter.value;
    }
  }
  return -1;
}

TEST(SigningMetrics, CountsByReasonAndByABoundedNumberOfPartners) {
  SigningMetrics metrics;
  for (std::size_t i = 0; i < SigningMetrics::kMostPartners + 10; ++i) {
    metrics.OnAnswer(Signed("p" + std::to_string(i), "example.com", "a@example.com"));
  }
  metrics.OnAnswer(Refused("p0", Reason::kRateExceeded));
  metrics.OnAnswer(Refused("", Reason::kCallerUnknown));
  MetricWriter out;
  metrics.Write(out);
  const MetricFamilies families = out.Take();
  EXPECT_EQ(ValueOf(families, "hallmark_signed_total", ""), SigningMetrics::kMostPartners + 10);
  EXPECT_EQ(ValueOf(families, "hallmark_refused_total", "RATE_EXCEEDED"), 1);
  EXPECT_EQ(ValueOf(families, "hallmark_partner_refused_total", "p0"), 1);
  EXPECT_EQ(ValueOf(families, "hallmark_partner_refused_total", "(unknown)"), 1);
  EXPECT_EQ(ValueOf(families, "hallmark_partner_signed_total", "(other)"), 10);
}

TEST(SigningMetrics, StagesThatAMessageDidNotReachHaveNoLatency) {
  SigningMetrics metrics;
  pipeline::Answered answered = Signed("acme", "example.com", "a@example.com");
  const auto at = std::chrono::steady_clock::time_point(std::chrono::seconds(100));
  answered.stamps.taken = at;
  answered.stamps.preparing = at + std::chrono::milliseconds(2);
  metrics.OnAnswer(answered);
  MetricWriter out;
  metrics.Write(out);
  for (const auto& family : out.Take()) {
    if (family.name != "hallmark_stage_seconds") continue;
    for (const auto& metric : family.metric) {
      const bool queue = metric.label.front().value == "queue";
      EXPECT_EQ(metric.histogram.sample_count, queue ? 1u : 0u) << metric.label.front().value;
      EXPECT_NEAR(metric.histogram.sample_sum, queue ? 0.002 : 0, 1e-9);
    }
  }
}

}  // namespace
}  // namespace hallmark::watch
