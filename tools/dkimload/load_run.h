#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tools/dkimload/calls.h"
#include "tools/dkimload/options.h"
#include "tools/dkimload/process_usage.h"
#include "tools/dkimload/tally.h"

namespace hallmark::load {

// What a process used during the measured window, and its memory at the end of it. Nothing where it has ended.
struct ProcessCost {
  WatchedProcess process;
  std::optional<CpuTime> cpu;
  std::optional<Memory> memory;
};

// What a run has found.
struct Results {
  explicit Results(const Window& window) : tally(window) {}
  Tally tally;
  Histogram lag;              // how late the window's messages were handed to gRPC; empty in a closed loop
  std::uint64_t started = 0;  // the window's messages
  std::uint64_t unsent = 0;   // of an open loop: due in the window, with no time left to send them
  // The window as it was asked for, to which what is counted keeps; and the time between the two looks at the
  // processes, of which the second is as late as its thread was woken.
  double window_seconds = 0, watched_seconds = 0;
  std::vector<ProcessCost> processes;  // dkimload itself comes first
};

// Loads the server as the options say, over connections that are open. Returns when every message has ended. The run
// has two threads of its own: one sends at the arrivals' instants (open loop), one drives the completion queue and, in
// a closed loop, sends the next message when one has ended. `kept`: what --keep wants; null without it.
std::unique_ptr<Results> RunLoad(const Options& options, const Requests& requests,
                                 const std::vector<std::unique_ptr<Stub>>& stubs, Kept* kept);

}  // namespace hallmark::load
