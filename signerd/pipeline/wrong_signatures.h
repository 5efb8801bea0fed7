#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace hallmark::pipeline {

// What the log says of signatures that do not verify. A token that makes none but such would fill it with two lines a
// message: the first is told at once, what follows as a count, once a minute. Any thread.
class WrongSignatures {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `key` is the name of its record. `refused`: it was made for the second time, and the message is refused.
  void Count(std::string_view token, const std::string& key, bool refused, Time now);
  // A message has signatures that verify: tells what is left of a count when its minute is over.
  void Settle(Time now) {
    if (untold_.load(std::memory_order_relaxed)) TellRest(now);
  }

 private:
  struct Token {
    Time told{};                                    // when the minute began
    bool told_wrong = false, told_refused = false;  // each has had its line in it
    std::uint64_t wrong = 0, refused = 0;           // without a line
  };
  void TellRest(Time now);

  std::atomic<bool> untold_{false};
  std::mutex mutex_;  // guards tokens_
  std::map<std::string, Token, std::less<>> tokens_;
};

}  // namespace hallmark::pipeline
