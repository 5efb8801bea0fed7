#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>

namespace hallmark::tokens {

// How fast a token signs when it never runs dry, learnt from its results. Not thread-safe.
class Pace {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // `count` signatures came at `now`; `more`: others were waiting for their places. Only the time between two results
  // of a token that had enough to do says how fast it is.
  void Learn(std::size_t count, bool more, TimePoint now) {
    if (busy_ && count != 0) {
      const double each = std::chrono::duration<double>(now - last_).count() / static_cast<double>(count);
      // Forgets with each signature, however many come in one frame.
      const double kept = seconds_each_ == 0 ? 0 : std::pow(kKept, static_cast<double>(count));
      seconds_each_ = kept * seconds_each_ + (1 - kept) * each;
    }
    busy_ = more;
    last_ = now;
  }
  // The token was replaced: the next result says nothing about its speed.
  void Interrupt() { busy_ = false; }

  // How long it takes until `count` signatures are made; nothing where it is not known yet.
  std::chrono::duration<double> TimeFor(double count) const {
    return std::chrono::duration<double>(seconds_each_ * count);
  }
  // How many signatures are made in `time`, at most `most`; 0 where it is not known yet.
  std::size_t CountIn(std::chrono::duration<double> time, std::size_t most) const {
    if (seconds_each_ <= 0) return 0;
    return static_cast<std::size_t>(std::min(time.count() / seconds_each_, static_cast<double>(most)));
  }

 private:
  static constexpr double kKept = 0.95;
  double seconds_each_ = 0;
  bool busy_ = false;
  TimePoint last_{};
};

}  // namespace hallmark::tokens
