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

  const Sources sources_;
  std::mutex mutex_;            // guards disks_
  std::vector<Reading> disks_;  // as last asked
  std::jthread thread_;
};

}  // namespace hallmark::health
