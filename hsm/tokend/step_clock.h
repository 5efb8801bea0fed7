#pragma once

#include <atomic>
#include <chrono>

namespace hallmark::tokend {

// The time of what one thread does in the module. A call of the module cannot be cancelled: one that does not come back
// can only be noticed. Begin() and End() by that thread, the others by any.
class StepClock {
 public:
  using Clock = std::chrono::steady_clock;

  // From now on the thread is within the module, for no longer than this.
  void Begin(Clock::duration longest) { deadline_ = (Clock::now() + longest).time_since_epoch().count(); }
  // Where it is within the module, its time begins now.
  void BeginAnew(Clock::duration longest) {
    auto deadline = deadline_.load();
    while (deadline != 0 &&
           !deadline_.compare_exchange_weak(deadline, (Clock::now() + longest).time_since_epoch().count())) {
    }
  }
  // It is not, for instance because it waits for another thread to leave the module.
  void End() { deadline_ = 0; }
  // Whether it should have come back by now.
  bool Hangs() const {
    const auto deadline = deadline_.load();
    return deadline != 0 && Clock::now().time_since_epoch() > Clock::duration(deadline);
  }

 private:
  std::atomic<Clock::rep> deadline_{0};  // 0: there is no step
};

}  // namespace hallmark::tokend
