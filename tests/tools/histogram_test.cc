#include "tools/dkimload/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>

#include "tools/dkimload/arrivals.h"
#include "tools/dkimload/tally.h"

namespace hallmark::load {
namespace {

// The smallest sample that this part of all does not exceed.
std::int64_t Exact(const std::vector<std::int64_t>& sorted, double part) {
  const auto rank = static_cast<std::size_t>(std::ceil(part * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

void ExpectQuantilesOf(std::vector<std::int64_t> samples) {
  Histogram histogram;
  for (const std::int64_t sample : samples) histogram.Add(sample);
  std::sort(samples.begin(), samples.end());
  ASSERT_EQ(histogram.count(), samples.size());
  EXPECT_EQ(histogram.max(), samples.back());
  const double sum = std::accumulate(samples.begin(), samples.end(), 0.0);
  EXPECT_NEAR(histogram.mean(), sum / static_cast<double>(samples.size()), histogram.mean() * 1e-9);
  for (const double part : {0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const std::int64_t exact = Exact(samples, part);
    EXPECT_GE(histogram.Quantile(part), exact) << part;
    EXPECT_LE(static_cast<double>(histogram.Quantile(part)), static_cast<double>(exact) * 1.001) << part;
  }
}

TEST(Histogram, IsEmptyAtFirst) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.max(), 0);
  EXPECT_EQ(histogram.mean(), 0);
  EXPECT_EQ(histogram.Quantile(0.5), 0);
}

TEST(Histogram, AgreesWithSortedSamples) {
  std::mt19937_64 random(7);
  for (const std::int64_t most : {std::int64_t{1}, std::int64_t{100}, std::int64_t{5000}, Histogram::kMost}) {
    for (const std::size_t count : {1u, 2u, 10u, 999u, 20000u}) {
      std::uniform_int_distribution<std::int64_t> even(1, most);
      std::vector<std::int64_t> samples(count);
      for (auto& sample : samples) sample = even(random);
      ExpectQuantilesOf(samples);
    }
  }
}

TEST(Histogram, AgreesWithSortedSamplesOfManySizes) {
  std::mt19937_64 random(8);
  std::uniform_real_distribution<double> exponent(0, std::log(static_cast<double>(Histogram::kMost)));
  std::vector<std::int64_t> samples(50000);
  for (auto& sample : samples)
    sample = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::exp(exponent(random))));
  ExpectQuantilesOf(samples);
}

TEST(Histogram, IsExactInSmallAndWithinAThousandthAtEveryEdge) {
  for (std::int64_t power = 1; power < Histogram::kMost; power *= 2) {
    for (const std::int64_t value : {power - 1, power, power + 1}) {
      if (value < Histogram::kLeast || value > Histogram::kMost) continue;
      Histogram histogram;
      histogram.Add(value);
      histogram.Add(Histogram::kMost);  // so that the largest value does not cut the quantile
      EXPECT_GE(histogram.Quantile(0.5), value);
      EXPECT_LE(histogram.Quantile(0.5) - value, value < 2048 ? 0 : value / 1000) << value;
    }
  }
}

TEST(Histogram, CountsWhatIsBeyondItsEndsAsTheEnds) {
  Histogram histogram;
  histogram.Add(-5);
  histogram.Add(0);
  EXPECT_EQ(histogram.Quantile(1), Histogram::kLeast);
  histogram.Add(Histogram::kMost + 1);
  histogram.Add(std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(histogram.max(), Histogram::kMost);
  EXPECT_EQ(histogram.Quantile(1), Histogram::kMost);
  EXPECT_EQ(histogram.count(), 4u);
}

TEST(Arrivals, AreTheSameForOneSeed) {
  Arrivals one(100, 1), same(100, 1), other(100, 2);
  bool differs = false;
  for (int i = 0; i < 1000; ++i) {
    const auto at = one.Next();
    EXPECT_EQ(at, same.Next());
    differs |= at != other.Next();
  }
  EXPECT_TRUE(differs);
}

// Of a Poisson process the gaps have the mean 1 / rate and a standard deviation that equals it.
TEST(Arrivals, HaveTheGapsOfAPoissonProcess) {
  constexpr int kCount = 100000;
  constexpr double kRate = 250;
  Arrivals arrivals(kRate, 1);
  std::chrono::nanoseconds last{};
  double sum = 0, squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const auto at = arrivals.Next();
    ASSERT_GE(at, last);
    const double gap = std::chrono::duration<double>(at - last).count();
    sum += gap;
    squares += gap * gap;
    last = at;
  }
  const double mean = sum / kCount;
  EXPECT_NEAR(mean * kRate, 1, 0.02);
  EXPECT_NEAR(std::sqrt(squares / kCount - mean * mean) * kRate, 1, 0.02);
}

TEST(Tally, CountsFromTheIntendedInstantAndOnlyTheWindow) {
  using std::chrono::seconds;
  const Clock::time_point zero;
  Tally tally({zero + seconds(10), zero + seconds(20)});
  tally.Add({0, zero + seconds(9)}, {}, zero + seconds(11));  // of the warm-up
  tally.Add({1, zero + seconds(10)}, {}, zero + seconds(13));
  tally.Add({2, zero + seconds(19)}, {14, "TOKEN_DOWN"}, zero + seconds(21));  // ended after the window
  tally.Add({3, zero + seconds(12)}, {14, "TOKEN_DOWN"}, zero + seconds(13));
  tally.Add({4, zero + seconds(12)}, {0, "NO_SIGNATURE"}, zero + seconds(13));
  tally.Add({5, zero + seconds(20)}, {}, zero + seconds(20));
  EXPECT_EQ(tally.well().count(), 1u);
  EXPECT_EQ(tally.well().max(), 3'000'000);
  EXPECT_EQ(tally.failed().count(), 3u);
  EXPECT_EQ(tally.failures(), (Tally::Failures{{{14, "TOKEN_DOWN"}, 2}, {{0, "NO_SIGNATURE"}, 1}}));
  EXPECT_EQ(tally.well_in_window(), 2u);
  EXPECT_EQ(tally.answered_in_window(), 4u);
  EXPECT_EQ(tally.ended_so_far(), 6u);
  EXPECT_EQ(tally.failed_so_far(), 3u);
}

}  // namespace
}  // namespace hallmark::load
