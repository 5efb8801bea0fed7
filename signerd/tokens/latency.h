#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace hallmark::tokens {

// How quickly a token answers, learnt from its answers. Not thread-safe.
class Latency {
 public:
  using Duration = std::chrono::duration<double>;

  // An answer took so long, on a token of `sessions` that was given `among` signatures, this one counted, at the time.
  void Learn(Duration took, std::size_t among, unsigned sessions) {
    const double rounds = std::max(1.0, static_cast<double>(among) / std::max(1U, sessions));
    Mix(usual_, took.count());
    Mix(service_, took.count() / rounds);
  }

  // Seconds that a session takes for a signature; 0 where it is not known yet.
  double service() const { return service_; }
  // An answer that takes longer is late: the token may hang. Far from what is usual, and well under a second where the
  // token is a quick one.
  Duration Patience() const { return std::max(kLeastPatience, Duration(usual_ * kTimesUsual)); }

 private:
  static constexpr Duration kLeastPatience{0.25};
  static constexpr double kTimesUsual = 4, kKept = 0.9;

  static void Mix(double& mean, double value) { mean = mean == 0 ? value : kKept * mean + (1 - kKept) * value; }

  double usual_ = 0, service_ = 0;
};

}  // namespace hallmark::tokens
