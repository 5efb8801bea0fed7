#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

#include "signerd/snapshot/snapshot.h"

namespace hallmark::pipeline {

// The credits of messages in flight. A partner may hold as many as are free, so one alone gets half of them and two get
// a third each: a flood never takes the last place, and nobody else notices it. The same among the relays of a partner:
// one may hold four times what is left to the partner, so that one alone gets nine tenths of its partner's half and two
// get about half of it each. Any thread.
class Intake {
 public:
  // What a relay holds for a partner. There are as many as the policy has had.
  class Place {
    friend class Intake;
    std::size_t held_ = 0;
    std::size_t* partner_ = nullptr;
  };

  explicit Intake(std::size_t credits) : credits_(credits) {}

  // What to give to Leave; null when there is no room.
  Place* Enter(std::string_view partner, std::string_view relay) {
    const std::lock_guard lock(mutex_);
    Partner& of = snapshot::At(partners_, partner);
    Place& place = snapshot::At(of.relays, relay);
    const std::size_t free = credits_ - in_flight_;
    if (free == 0 || (of.held > 0 && of.held >= free)) return nullptr;
    if (place.held_ > 0 && place.held_ >= kShare * (free - of.held)) return nullptr;
    place.partner_ = &of.held;
    ++place.held_;
    ++of.held;
    ++in_flight_;
    return &place;
  }
  void Leave(Place& place) {
    const std::lock_guard lock(mutex_);
    --place.held_;
    --*place.partner_;
    --in_flight_;
  }
  std::size_t in_flight() const {
    const std::lock_guard lock(mutex_);
    return in_flight_;
  }

 private:
  static constexpr std::size_t kShare = 4;

  struct Partner {
    std::size_t held = 0;
    snapshot::NameMap<Place> relays;
  };

  const std::size_t credits_;
  mutable std::mutex mutex_;  // guards in_flight_, partners_ and every Place
  std::size_t in_flight_ = 0;
  snapshot::NameMap<Partner> partners_;
};

}  // namespace hallmark::pipeline
