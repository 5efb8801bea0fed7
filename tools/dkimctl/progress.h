#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>

namespace hallmark::ctl {

// A bar on standard error while many messages are worked on; silent when that is no terminal or there is only one.
// Thread-safe.
class Progress {
 public:
  explicit Progress(std::size_t total);
  // Removes the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // One more is done.
  void Tick(bool well);

 private:
  void Draw() const;
  const std::size_t total_;
  const bool shown_;
  std::mutex mutex_;
  std::size_t done_ = 0, failed_ = 0;
  std::chrono::steady_clock::time_point drawn_{};
};

}  // namespace hallmark::ctl
