#include "firmware/health/sensors.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>

#include "firmware/health/sysfs.h"

namespace hallmark::health {
namespace {

namespace fs = std::filesystem;
using std::chrono::sys_seconds;

// Thousandths of a degree. Nothing that works is colder or hotter, and a chip that has no sensor there says such
// things.
constexpr std::int64_t kColdest = -55'000, kHottest = 150'000;
constexpr std::int64_t kFastestFan = 60'000;
constexpr std::uint64_t kMiB = 1 << 20;

std::string Degrees(std::int64_t millidegrees) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f C", static_cast<double>(millidegrees) / 1000);
  return text;
}

// A limit that nothing reaches, or that everything is over, is none.
std::optional<std::int64_t> Limit(const fs::path& path) {
  const auto limit = ReadNumber(path);
  if (!limit || *limit <= 0 || *limit > kHottest) return std::nullopt;
  return *limit;
}

bool IsSet(const fs::path& path) {
  const auto flag = ReadNumber(path);
  return flag && *flag != 0;
}

Reading ReadTemperature(const std::string& name, const std::string& stem, sys_seconds now) {
  const auto value = ReadNumber(stem + "_input");
  if (!value || IsSet(stem + "_fault")) return MakeReading(name, kUnknown, "the sensor does not answer", now);
  if (*value < kColdest || *value > kHottest) {
    return MakeReading(name, kUnknown, "the sensor says " + Degrees(*value) + ", which cannot be", now);
  }
  const auto max = Limit(stem + "_max"), critical = Limit(stem + "_crit");
  Level level = kOk;
  if (max && *value >= *max) level = kWarning;
  if ((critical && *value >= *critical) || IsSet(stem + "_crit_alarm")) level = kFailed;
  std::string message = Degrees(*value);
  if (max) message += ", limit " + Degrees(*max);
  if (critical) message += ", critical " + Degrees(*critical);
  return MakeReading(name, level, message, now);
}

Reading ReadFan(const std::string& name, const std::string& stem, sys_seconds now) {
  const auto value = ReadNumber(stem + "_input");
  if (!value || IsSet(stem + "_fault")) return MakeReading(name, kUnknown, "the sensor does not answer", now);
  const std::string speed = std::to_string(*value) + " rpm";
  if (*value < 0 || *value > kFastestFan) {
    return MakeReading(name, kUnknown, "the sensor says " + speed + ", which cannot be", now);
  }
  const auto least = ReadNumber(stem + "_min");
  if (least && *least > 0 && *least <= kFastestFan) {
    const Level level = *value == 0 ? kFailed : *value < *least ? kWarning : kOk;
    return MakeReading(name, level, speed + ", at least " + std::to_string(*least) + " rpm", now);
  }
  if (*value == 0 && !IsSet(stem + "_alarm")) return MakeReading(name, kUnknown, "no fan, or it stands still", now);
  return MakeReading(name, *value == 0 ? kFailed : kOk, speed, now);
}

// Calls read(name, path without its suffix) for each `kind`N_input of every chip.
template <class Read>
std::vector<Reading> ReadChips(const fs::path& sysfs, std::string_view kind, std::string_view title, Read read) {
  std::vector<Reading> readings;
  std::map<std::string, int> chips;  // how many there are of a name: two disks, two processors
  for (const fs::path& chip : Entries(sysfs / "class/hwmon")) {
    const auto named = ReadLine(chip / "name");
    std::string name = named && !named->empty() ? *named : chip.filename().string();
    const int count = ++chips[name];
    if (count > 1) name += "#" + std::to_string(count);
    for (const fs::path& file : Entries(chip)) {
      const std::string stem = file.filename().string();
      constexpr std::string_view kInput = "_input";
      if (!stem.starts_with(kind) || !stem.ends_with(kInput)) continue;
      const std::string path = file.string().substr(0, file.string().size() - kInput.size());
      const auto label = ReadLine(path + "_label");
      const std::string number = stem.substr(kind.size(), stem.size() - kind.size() - kInput.size());
      readings.push_back(
          read(std::string(title) + "/" + name + " " + (label && !label->empty() ? *label : number), path));
    }
  }
  return readings;
}

Level LevelOf(std::uint64_t free, std::uint64_t size) {
  return free < size / 50 ? kFailed : free < size / 10 ? kWarning : kOk;
}

}  // namespace

std::vector<Reading> ReadTemperatures(const fs::path& sysfs, sys_seconds now) {
  return ReadChips(sysfs, "temp", "temperature",
                   [&](const std::string& name, const std::string& stem) { return ReadTemperature(name, stem, now); });
}

std::vector<Reading> ReadFans(const fs::path& sysfs, sys_seconds now) {
  return ReadChips(sysfs, "fan", "fan",
                   [&](const std::string& name, const std::string& stem) { return ReadFan(name, stem, now); });
}

Reading ReadWatchdog(const fs::path& sysfs, sys_seconds now) {
  constexpr std::string_view kName = "watchdog";
  const fs::path watchdog = sysfs / "class/watchdog/watchdog0";
  const auto state = ReadLine(watchdog / "state");
  if (!state) return MakeReading(kName, kUnknown, "the kernel has no hardware watchdog", now);
  const auto identity = ReadLine(watchdog / "identity");
  const std::string who = identity && !identity->empty() ? *identity : "watchdog";
  if (*state != "active") return MakeReading(kName, kWarning, who + ": not running, so a hang lasts", now);
  const auto timeout = ReadNumber(watchdog / "timeout");
  return MakeReading(kName, kOk, who + (timeout ? ", restarts the box after " + std::to_string(*timeout) + " s" : ""),
                     now);
}

Reading JudgeSpace(const Space& space, sys_seconds now) {
  constexpr std::string_view kName = "space";
  if (space.size == 0 || space.free > space.size) return MakeReading(kName, kUnknown, "cannot be told", now);
  Level level = LevelOf(space.free, space.size);
  if (space.free < 64 * kMiB) level = kFailed;
  if (space.free < 256 * kMiB && level == kOk) level = kWarning;
  std::string message =
      std::to_string(space.free / kMiB) + " MiB free of " + std::to_string(space.size / kMiB) + " MiB";
  if (space.files != 0 && space.free_files <= space.files) {
    const Level files = LevelOf(space.free_files, space.files);
    if (files != kOk) message += ", " + std::to_string(space.free_files) + " files";
    if (files == kFailed || level == kOk) level = files;
  }
  return MakeReading(kName, level, message, now);
}

Reading ReadSpace(const fs::path& folder, sys_seconds now) {
  struct statvfs facts {};
  if (::statvfs(folder.c_str(), &facts) != 0) {
    return MakeReading("space", kUnknown, folder.string() + ": " + std::strerror(errno), now);
  }
  return JudgeSpace({static_cast<std::uint64_t>(facts.f_bavail) * facts.f_frsize,
                     static_cast<std::uint64_t>(facts.f_blocks) * facts.f_frsize, facts.f_favail, facts.f_files},
                    now);
}

}  // namespace hallmark::health
