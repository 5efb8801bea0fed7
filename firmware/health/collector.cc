#include "firmware/health/collector.h"

#include "firmware/health/clock_state.h"
#include "firmware/health/disks.h"
#include "firmware/health/sensors.h"
#include "firmware/runtime/clock.h"
#include "firmware/runtime/pause.h"
#include "firmware/runtime/subprocess.h"

namespace hallmark::health {
namespace {

constexpr std::chrono::minutes kDiskInterval{10};
constexpr std::chrono::seconds kChronycWait{3};

}  // namespace

void Collector::WatchDisks() {
  told_ = std::chrono::steady_clock::now();
  thread_ = std::jthread([this](const std::stop_token& stop) { RunDisks(stop); });
}

void Collector::RunDisks(const std::stop_token& stop) {
  const SystemClock clock;
  do {
    auto disks = ReadDisks(sources_.sysfs, sources_.smartctl, clock.Now());
    const std::lock_guard lock(mutex_);
    disks_ = std::move(disks);
    told_ = std::chrono::steady_clock::now();
  } while (Pause(stop, kDiskInterval));
}

Reading Collector::ReadClock(std::chrono::sys_seconds now) const {
  const auto answer = RunProgram(sources_.chronyc, {"-n", "-c", "tracking"}, {}, kChronycWait);
  return JudgeClock(answer ? ParseTracking(answer->out) : std::nullopt, sources_.not_before, now);
}

// A smartctl that hangs in the kernel is not ended by a signal either, and then nobody asks any disk.
std::vector<Reading> Collector::DisksAsTold(std::chrono::sys_seconds now) {
  const std::lock_guard lock(mutex_);
  return std::chrono::steady_clock::now() - told_ < sources_.disk_patience ? disks_ : Hung(disks_, now);
}

Report Collector::Collect(std::chrono::sys_seconds now) {
  Report report;
  report.mutable_observe_time()->set_seconds(now.time_since_epoch().count());
  const auto add = [&](const std::vector<Reading>& readings) {
    report.mutable_readings()->Add(readings.begin(), readings.end());
  };
  add(ReadTemperatures(sources_.sysfs, now));
  add(ReadFans(sources_.sysfs, now));
  add({ReadWatchdog(sources_.sysfs, now), ReadSpace(sources_.state, now), ReadClock(now)});
  if (thread_.joinable()) {
    add(DisksAsTold(now));
  } else {
    add(ReadDisks(sources_.sysfs, sources_.smartctl, now));
  }
  Sort(report);
  return report;
}

}  // namespace hallmark::health
