#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "firmware/health/report.h"

// Whether the clock can be believed. chronyd's word counts, which alone sets it: the kernel is not asked, because the
// call for that is the one that sets the clock, and hallmark-health has no business with it. Any thread.
namespace hallmark::health {

// What chronyd says of the clock.
struct Tracking {
  bool synchronised = false;
  std::string source;                          // a time server's address
  std::chrono::microseconds offset{0};         // how far the clock is off as far as chronyd knows
  std::chrono::microseconds largest_error{0};  // it cannot be off by more, where the time servers are right
};

// From what "chronyc -n -c tracking" printed; nothing where that is no such answer.
std::optional<Tracking> ParseTracking(std::string_view answer);

// "clock": kFailed where it is before `not_before`, a time that has certainly passed; kWarning where it is not
// synchronised, may be off by more than a second, or chronyd says nothing.
Reading JudgeClock(const std::optional<Tracking>& tracking, std::chrono::sys_seconds not_before,
                   std::chrono::sys_seconds now);

}  // namespace hallmark::health
