#pragma once

#include <chrono>

namespace hallmark::keys {

// When to look at a domain again. Urgent: before all others that are due, as in an emergency.
struct NextLook {
  std::chrono::sys_seconds time;
  bool urgent = false;
};

}  // namespace hallmark::keys
