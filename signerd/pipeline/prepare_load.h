#pragma once

#include <chrono>
#include <cmath>
#include <mutex>

#include "signerd/tokens/pace.h"

namespace hallmark::pipeline {

// How fast messages are prepared, all threads together, and what of it is under way; in the unit of their costs. Any
// thread.
class PrepareLoad {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // A batch of this cost is prepared from here on.
  void Begin(double cost) {
    const std::lock_guard lock(mutex_);
    under_way_ += cost;
  }
  // It is; `more`: others wait.
  void End(double cost, bool more, TimePoint now) {
    const std::lock_guard lock(mutex_);
    under_way_ -= cost;
    pace_.Learn(static_cast<std::size_t>(std::llround(cost)), more, now);
  }
  // How long it takes until what waits first is prepared. Nothing where nothing does, however slow the last batches
  // were; or where it is not known yet.
  std::chrono::duration<double> TimeFor(double waiting) const {
    if (waiting <= 0) return {};
    const std::lock_guard lock(mutex_);
    return pace_.TimeFor(waiting + under_way_);
  }

 private:
  mutable std::mutex mutex_;  // guards what follows
  tokens::Pace pace_;
  double under_way_ = 0;
};

}  // namespace hallmark::pipeline
