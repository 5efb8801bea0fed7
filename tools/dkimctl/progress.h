#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
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
  std::mutex mutex_;  // guards what follows, and the terminal
  std::size_t done_ = 0, failed_ = 0;
  std::chrono::steady_clock::time_point drawn_{};
};

// How far one long call is, on standard error; silent when that is no terminal. One thread.
class CountBar {
 public:
  // `what`: "records".
  explicit CountBar(const char* what);
  // Removes it.
  ~CountBar();
  CountBar(const CountBar&) = delete;
  CountBar& operator=(const CountBar&) = delete;
  void Show(std::uint64_t done, std::uint64_t total) const;

 private:
  const char* const what_;
  const bool shown_;
};

}  // namespace hallmark::ctl
