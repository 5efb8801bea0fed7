#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/health/report.h"

// How worn the disks are. Any thread; ReadDisks waits for the disks.
namespace hallmark::health {

// "disk/DEVICE" for each disk of the box: eMMC by sysfs, NVMe, SATA and SAS by smartctl, at most 20 s each. Sticks and
// what is made of other devices are left out. kUnknown where nothing is known of one: behind a RAID controller, or
// without smartctl.
std::vector<Reading> ReadDisks(const std::filesystem::path& sysfs, const std::string& smartctl,
                               std::chrono::sys_seconds now);

// Of disks that say nothing any more, because one of them hangs whoever asks it: each kFailed, for which one it is
// nobody can tell. "disk" where none has said anything yet.
std::vector<Reading> Hung(const std::vector<Reading>& disks, std::chrono::sys_seconds now);

// What smartctl --json answered of a disk, whatever it is: kFailed where the disk says that it fails or is out of spare
// blocks, kWarning from nine tenths of its endurance on.
Reading JudgeSmart(std::string_view name, std::string_view json, std::chrono::sys_seconds now);

// An eMMC's life_time ("0x01 0x02", in tenths used) and pre_eol_info ("0x01"); empty where there is no such file.
Reading JudgeEmmc(std::string_view name, std::string_view life_time, std::string_view pre_eol_info,
                  std::chrono::sys_seconds now);

}  // namespace hallmark::health
