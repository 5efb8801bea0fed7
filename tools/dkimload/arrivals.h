#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace hallmark::load {

// When messages are to be sent by callers that know nothing of each other: a Poisson process. The same seed gives the
// same instants on every machine. Not thread-safe.
class Arrivals {
 public:
  // `per_second` is above 0.
  Arrivals(double per_second, std::uint64_t seed) : per_second_(per_second), random_(seed) {}

  // The next one, counted from the start of the run; never before the last.
  std::chrono::nanoseconds Next();

 private:
  const double per_second_;
  std::mt19937_64 random_;
  double at_seconds_ = 0;
};

}  // namespace hallmark::load
