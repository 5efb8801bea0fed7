#pragma once

#include <chrono>
#include <cstdint>

namespace hallmark::health {

// Whether the daemon itself still works, so that systemd's watchdog may leave it alone. What a restart cannot mend
// counts for nothing: a token that is gone, a full disk, a wrong clock. One thread.
class Liveness {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kMost{90};  // within what WatchdogSec= gives

  // `last_look`: when the thread that tests the tokens last came round. `answered`: messages so far; `in_flight`: those
  // that wait. False when either has stood still for too long: messages have deadlines of 30 s at most, and so have
  // test signatures.
  bool Look(Time now, Time last_look, std::int64_t answered, std::int64_t in_flight) {
    if (in_flight == 0 || answered != answered_) moved_ = now;
    answered_ = answered;
    return now - last_look < kMost && now - moved_ < kMost;
  }

 private:
  std::int64_t answered_ = -1;
  Time moved_{};
};

}  // namespace hallmark::health
