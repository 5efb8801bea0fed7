#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "firmware/health/report.h"

// Whether the clock can be believed. The kernel's word counts: whoever sets the clock (chronyd, with "rtcsync") tells
// it how far off the clock may be. Any thread.
namespace hallmark::health {

struct ClockState {
  bool synchronised = false;
  std::chrono::microseconds largest_error{0};
};

// By adjtimex(2), which needs no privilege to be asked.
Result<ClockState> AskKernel();

// What "chronyc -c tracking" answered: its source and what it says of it, "192.0.2.1, 0.2 ms off". Nothing for what is
// no such answer, or where it has no source.
std::optional<std::string> DescribeTracking(std::string_view answer);

// "clock": kFailed where it is before `not_before`, a time that has certainly passed; kWarning where it is not
// synchronised or may be off by more than a second. `source`: as of DescribeTracking.
Reading JudgeClock(const Result<ClockState>& state, const std::optional<std::string>& source,
                   std::chrono::sys_seconds not_before, std::chrono::sys_seconds now);

}  // namespace hallmark::health
