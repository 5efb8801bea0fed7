#pragma once

#include <chrono>
#include <ctime>
#include <string>

namespace hallmark {

// For a person, and as policy.toml has it: "2026-11-27T17:29:00Z"; "" for a time that no calendar has. Any thread.
inline std::string TimeText(std::chrono::sys_seconds time) {
  const std::time_t seconds = time.time_since_epoch().count();
  std::tm parts{};
  char text[32];
  if (::gmtime_r(&seconds, &parts) == nullptr) return "";
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

}  // namespace hallmark
