#pragma once

#include <cstdint>

namespace hallmark::load {

// A bar on standard error that fills as time passes; silent when that is no terminal. One thread.
class Progress {
 public:
  explicit Progress(double total_seconds);
  // Removes the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Draw(double seconds, std::uint64_t ended, std::uint64_t failed) const;

 private:
  const double total_seconds_;
  const bool shown_;
};

}  // namespace hallmark::load
