#pragma once

#include <atomic>
#include <chrono>

namespace hallmark {

// Wall-clock time as a parameter, so that tests decide it. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::chrono::sys_seconds Now() const = 0;
  // The same, with fractions of a second where the clock has them.
  virtual std::chrono::system_clock::time_point Precise() const { return Now(); }
};

class SystemClock final : public Clock {
 public:
  std::chrono::sys_seconds Now() const override {
    return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  }
  std::chrono::system_clock::time_point Precise() const override { return std::chrono::system_clock::now(); }
};

// Stands still until it is set.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::chrono::sys_seconds now) : now_(now) {}
  std::chrono::sys_seconds Now() const override { return now_.load(); }
  void Set(std::chrono::sys_seconds now) { now_.store(now); }

 private:
  std::atomic<std::chrono::sys_seconds> now_;
};

}  // namespace hallmark
