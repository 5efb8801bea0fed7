#pragma once

#include <chrono>

namespace hallmark::keys {

// When to look at a domain again. Urgent: before all others that are due, as in an emergency.
struct NextLook {
  std::chrono::sys_seconds time;
  bool urgent = false;
  // Nothing could be learnt of the domain: the next look is as urgent as this one was.
  bool failed = false;
};

}  // namespace hallmark::keys
