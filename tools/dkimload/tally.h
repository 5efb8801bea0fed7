#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "tools/dkimload/calls.h"
#include "tools/dkimload/histogram.h"

namespace hallmark::load {

// What is measured: messages that were to be sent from `begin` on and before `end`.
struct Window {
  Clock::time_point begin, end;
  bool Holds(Clock::time_point instant) const { return begin <= instant && instant < end; }
};

// What became of the messages. Latency counts from the instant at which a message was to be sent. Add: one thread. The
// counters for the progress bar: any thread. All else: after the last Add.
class Tally {
 public:
  explicit Tally(const Window& window) : window_(window) {}

  void Add(const Ticket& ticket, const Ending& ending, Clock::time_point now);

  // Of the window's messages, whenever they ended.
  const Histogram& well() const { return well_; }
  const Histogram& failed() const { return failed_; }
  // By code and reason.
  using Failures = std::map<std::pair<int, std::string>, std::uint64_t>;
  const Failures& failures() const { return failures_; }

  // Answers that came within the window, whenever their message was sent: good ones, and all.
  std::uint64_t well_in_window() const { return well_in_window_; }
  std::uint64_t answered_in_window() const { return answered_in_window_; }

  // Since the start of the run.
  std::uint64_t ended_so_far() const { return ended_; }
  std::uint64_t failed_so_far() const { return failed_so_far_; }

 private:
  const Window window_;
  Histogram well_, failed_;
  Failures failures_;
  std::uint64_t well_in_window_ = 0, answered_in_window_ = 0;
  std::atomic<std::uint64_t> ended_ = 0, failed_so_far_ = 0;
};

}  // namespace hallmark::load
