#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

namespace hallmark::milter {

// No signerd can sign, and messages fail for that alone. Says which of them are worth a line of the log: the first one,
// then one a minute, and the one with which it is over. Any thread.
class Outage {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // A message failed. Where it is to be logged: how many others have since the last line, without one.
  std::optional<std::uint64_t> Failed(Time now);
  // signerd has answered. The same, where the outage was told.
  std::optional<std::uint64_t> Over();

 private:
  std::mutex mutex_;  // guards what follows
  bool told_ = false;
  std::optional<Time> line_;  // when a failure last had one
  std::uint64_t untold_ = 0;
};

}  // namespace hallmark::milter
