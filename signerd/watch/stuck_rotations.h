#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "signerd/watch/detector.h"

namespace hallmark::watch {

// When to tell of domains whose keys do not rotate. A name server or a token that is away stops many at once: those
// that come within kPause of an alert are told of together, in the next one. No I/O, no clock of its own. One thread.
class StuckRotations {
 public:
  static constexpr std::chrono::minutes kPause{10};

  // What is stuck now, and why, by domain. Gives an alert for those that no alert named since they are stuck.
  std::optional<Alarm> Step(const std::map<std::string, std::string>& stuck, std::chrono::steady_clock::time_point now);

 private:
  std::set<std::string> told_;
  std::optional<std::chrono::steady_clock::time_point> last_;  // that there was an alert
};

}  // namespace hallmark::watch
