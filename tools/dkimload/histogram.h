#pragma once

#include <cstdint>
#include <vector>

namespace hallmark::load {

// Counts durations in microseconds, from 1 us to 1 hour, in buckets that grow with the value: a quantile is never below
// the true one and at most 0.1 % above it, whatever the count. Values beyond the ends count as the ends. Constant
// memory (190 KiB), constant time. Not thread-safe.
class Histogram {
 public:
  static constexpr std::int64_t kLeast = 1, kMost = 3'600'000'000;

  Histogram();
  void Add(std::int64_t microseconds);

  std::uint64_t count() const { return count_; }
  // These are 0 when nothing was counted.
  std::int64_t max() const { return max_; }
  double mean() const;
  // The smallest value that at least this part of all (0 to 1) does not exceed.
  std::int64_t Quantile(double part) const;

 private:
  std::vector<std::uint64_t> buckets_;
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace hallmark::load
