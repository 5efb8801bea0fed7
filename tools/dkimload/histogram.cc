#include "tools/dkimload/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

namespace hallmark::load {
namespace {

// Up to 2^11 every value has a bucket; above, every doubling is cut into 2^10, each less than 0.1 % of its values wide.
constexpr int kExactBits = 11;
constexpr std::size_t kExact = std::size_t{1} << kExactBits;
constexpr std::size_t kHalf = kExact / 2;

int Shift(std::uint64_t value) { return std::max(static_cast<int>(std::bit_width(value)) - kExactBits, 0); }

std::size_t IndexOf(std::uint64_t value) {
  const int shift = Shift(value);
  return static_cast<std::size_t>(shift) * kHalf + static_cast<std::size_t>(value >> shift);
}

// The largest value of the bucket.
std::int64_t Top(std::size_t index) {
  if (index < kExact) return static_cast<std::int64_t>(index);
  const auto shift = static_cast<int>(index / kHalf) - 1;
  const std::uint64_t lead = index - static_cast<std::size_t>(shift) * kHalf;
  return static_cast<std::int64_t>(((lead + 1) << shift) - 1);
}

}  // namespace

Histogram::Histogram() : buckets_(IndexOf(kMost) + 1) {}

void Histogram::Add(std::int64_t microseconds) {
  const std::int64_t value = std::clamp(microseconds, kLeast, kMost);
  ++buckets_[IndexOf(static_cast<std::uint64_t>(value))];
  ++count_;
  sum_ += static_cast<double>(value);
  max_ = std::max(max_, value);
}

double Histogram::mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

std::int64_t Histogram::Quantile(double part) const {
  if (count_ == 0) return 0;
  const double rank = std::ceil(std::clamp(part, 0.0, 1.0) * static_cast<double>(count_));
  const std::uint64_t wanted = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(rank), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return std::min(Top(i), max_);
  }
  return max_;
}

}  // namespace hallmark::load
