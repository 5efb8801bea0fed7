#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace hallmark::milter {

// The warnings that came with signatures, by code (docs/api.md). Any thread.
class WarningTally {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Counts one. Whether it is to be logged: the first of its code within a minute.
  bool Count(std::string_view code, Time now);
  std::map<std::string, std::uint64_t, std::less<>> Counts() const;

 private:
  struct Code {
    std::uint64_t count = 0;
    Time logged;
  };
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, Code, std::less<>> codes_;
};

}  // namespace hallmark::milter
