#pragma once

#include <chrono>
#include <filesystem>
#include <vector>

#include "firmware/health/report.h"

// Temperatures, fans, the hardware watchdog and the room for state. `sysfs` is /sys, or a test's tree. What is missing
// gives no reading; what is there and does not answer, or says what cannot be, is kUnknown. Nothing fails. Any thread.
namespace hallmark::health {

// "temperature/CHIP", "temperature/CHIP LABEL", of /sys/class/hwmon: kWarning from its own limit ("max") on, kFailed
// from its critical one.
std::vector<Reading> ReadTemperatures(const std::filesystem::path& sysfs, std::chrono::sys_seconds now);

// "fan/CHIP 1": kFailed where it stands still and has a lowest speed, kWarning below that.
std::vector<Reading> ReadFans(const std::filesystem::path& sysfs, std::chrono::sys_seconds now);

// "watchdog": kOk while somebody feeds it (systemd, by RuntimeWatchdogSec=), kWarning while nobody does, kUnknown where
// the kernel has none.
Reading ReadWatchdog(const std::filesystem::path& sysfs, std::chrono::sys_seconds now);

// "space": of the file system that `folder` is on. kWarning below a tenth or 256 MiB, kFailed below a fiftieth or 64
// MiB.
Reading ReadSpace(const std::filesystem::path& folder, std::chrono::sys_seconds now);

// The judgement behind ReadSpace: octets, and files (0 of 0: this file system does not count them).
struct Space {
  std::uint64_t free = 0, size = 0, free_files = 0, files = 0;
};
Reading JudgeSpace(const Space& space, std::chrono::sys_seconds now);

}  // namespace hallmark::health
