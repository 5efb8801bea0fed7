#pragma once

#include <chrono>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "firmware/health/report.h"

namespace hallmark::health {

// Where the sensors are. Tests have their own.
struct Sources {
  std::filesystem::path sysfs = "/sys";
  std::filesystem::path state = "/var";  // whose file system must have room
  std::string smartctl = "/usr/sbin/smartctl";
  std::string chronyc = "/usr/bin/chronyc";
  std::chrono::sys_seconds not_before;  // a time that has certainly passed
  // After so long without word the disks' readings are no readings any more.
  std::chrono::minutes disk_patience{25};
};

// All the box's sensors in one report. One thread.
class Collector {
 public:
  explicit Collector(Sources sources) : sources_(std::move(sources)) {}

  // Has the disks asked by a thread of its own from now on, each ten minutes: they may take long. Without, Collect()
  // asks them.
  void WatchDisks();
  Report Collect(std::chrono::sys_seconds now);

 private:
  void RunDisks(const std::stop_token& stop);
  Reading ReadClock(std::chrono::sys_seconds now) const;
  std::vector<Reading> DisksAsTold(std::chrono::sys_seconds now);

  const Sources sources_;
  std::mutex mutex_;                            // guards what follows
  std::vector<Reading> disks_;                  // as last asked
  std::chrono::steady_clock::time_point told_;  // when that came to its end; not by a clock that is set at the start
  std::jthread thread_;
};

}  // namespace hallmark::health
