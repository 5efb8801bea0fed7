#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace hallmark::load {

// A process whose cost is watched.
struct WatchedProcess {
  std::string name;
  pid_t pid = 0;
};

// Processor time of all threads so far. The kernel counts in ticks of 10 ms.
struct CpuTime {
  std::chrono::microseconds user{}, system{};
};
// Nothing when there is no such process.
std::optional<CpuTime> ReadCpuTime(pid_t pid);

// Resident memory: now, and the most there ever was.
struct Memory {
  std::int64_t resident_kib = 0, peak_kib = 0;
};
// Nothing when there is no such process.
std::optional<Memory> ReadMemory(pid_t pid);

}  // namespace hallmark::load
