#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

#include "signerd/snapshot/snapshot.h"

namespace hallmark::pipeline {

// The credits of messages in flight. A partner may hold as many as are free, so one alone gets half of them and two get
// a third each: a flood never takes the last place, and nobody else notices it. Any thread.
class Intake {
 public:
  explicit Intake(std::size_t credits) : credits_(credits) {}

  // False when there is no room; then Leave must not be called.
  bool Enter(std::string_view partner) {
    const std::lock_guard lock(mutex_);
    const auto found = held_.find(partner);
    std::size_t& held = found != held_.end() ? found->second : held_[std::string(partner)];
    if (in_flight_ >= credits_ || held >= std::max<std::size_t>(1, credits_ - in_flight_)) return false;
    ++held;
    ++in_flight_;
    return true;
  }
  void Leave(std::string_view partner) {
    const std::lock_guard lock(mutex_);
    --held_.find(partner)->second;
    --in_flight_;
  }
  std::size_t in_flight() const {
    const std::lock_guard lock(mutex_);
    return in_flight_;
  }

 private:
  const std::size_t credits_;
  mutable std::mutex mutex_;  // guards in_flight_ and held_
  std::size_t in_flight_ = 0;
  snapshot::NameMap<std::size_t> held_;  // by partner; there are as many as the policy has had
};

}  // namespace hallmark::pipeline
