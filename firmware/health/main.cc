#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <optional>

#include "firmware/health/collector.h"
#include "firmware/health/console.h"
#include "firmware/health/report.h"
#include "firmware/runtime/clock.h"
#include "firmware/runtime/log.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/sd_notify.h"

namespace hallmark::health {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kConsoleInterval{2};
constexpr int kDone = 0, kUsage = 2, kWarns = 3, kFails = 4;

struct Options {
  Sources sources;
  fs::path report = "/run/hallmark-health/report.json";
  fs::path signing = "/run/hallmark-signerd/health.json";
  long interval = 15, wait = 0;
  bool once = false, check = false, console = false;
  std::string output = "table";
};

// Calls `act` at once and each interval, until it says that it is done or a signal ends the program: false then.
bool Repeat(const sigset_t& signals, std::chrono::seconds interval, const std::function<bool()>& act) {
  const timespec pause{interval.count(), 0};
  while (!act()) {
    if (::sigtimedwait(&signals, nullptr, &pause) > 0) return false;
  }
  return true;
}

int ExitOf(Level worst) { return worst == kFailed ? kFails : worst == kWarning ? kWarns : kDone; }

int ShowOnce(const Options& options) {
  const Report report = Collector(options.sources).Collect(SystemClock().Now());
  if (options.output == "json") {
    std::fputs(ToJson(report).c_str(), stdout);
    return ExitOf(Worst(report));
  }
  for (const Reading& reading : report.readings()) {
    std::printf("%-8s %s: %s\n", std::string(LevelName(reading.level())).c_str(), reading.name().c_str(),
                reading.message().c_str());
  }
  return ExitOf(Worst(report));
}

int Check(const Options& options, const sigset_t& signals) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(options.wait);
  Verdict verdict{kFailed, "it was ended before it knew"};
  Repeat(signals, std::chrono::seconds(1), [&] {
    verdict = JudgeSigning(ReadReport(options.signing), SystemClock().Now());
    return verdict.level == kOk || std::chrono::steady_clock::now() >= deadline;
  });
  std::printf("%s\n", verdict.message.c_str());
  return verdict.level == kOk ? kDone : kFails;
}

// Not from /proc/uptime, which the unit hides.
std::chrono::seconds Uptime() {
  timespec since_boot{};
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  return std::chrono::seconds(since_boot.tv_sec);
}

int RunConsole(const Options& options, const sigset_t& signals) {
  Console console;
  NotifySystemd("READY=1");
  Repeat(signals, kConsoleInterval, [&] {
    for (const std::string& line : console.Look(ReadReport(options.signing), SystemClock().Now(), Uptime())) {
      std::printf("%s\n", line.c_str());
    }
    std::fflush(stdout);
    return false;
  });
  return kDone;
}

int Serve(const Options& options, const sigset_t& signals) {
  log::Init("hallmark-health", "info");
  Collector collector(options.sources);
  collector.WatchDisks();
  std::string said;  // an error is logged when it begins
  bool ready = false;
  Repeat(signals, std::chrono::seconds(options.interval), [&] {
    const Status written = WriteReport(options.report, collector.Collect(SystemClock().Now()));
    const std::string trouble = written ? "" : written.error().message;
    if (trouble != said && !trouble.empty()) log::error("{}", trouble);
    said = trouble;
    if (!std::exchange(ready, true)) NotifySystemd("READY=1");
    NotifySystemd("WATCHDOG=1");
    return false;
  });
  NotifySystemd("STOPPING=1");
  return kDone;
}

// When this program was made, as the file system has it: on the image that is the commit's time.
std::chrono::sys_seconds MadeAt() {
  std::error_code error;
  const auto written = fs::last_write_time(fs::read_symlink("/proc/self/exe", error), error);
  if (error) return {};
  return std::chrono::floor<std::chrono::seconds>(std::chrono::file_clock::to_sys(written));
}

int Main(int argc, char** argv) {
  CLI::App app{
      "How the box is: temperatures, fans, disks, room, clock, watchdog. Writes a report for signerd, again and again"};
  app.set_version_flag("--version", HALLMARK_VERSION);
  app.footer(
      "Exit status of --once: 0, or 3 where something warns, or 4 where something failed. Of --check: 0 or 4.\n\n"
      "Examples:\n  hallmark-health --once\n  hallmark-health --once --output json\n  hallmark-health --check --wait "
      "120");
  Options options;
  options.sources.not_before = MadeAt();
  app.add_option("--report", options.report, "Where the report goes")->capture_default_str();
  app.add_option("--interval", options.interval, "Seconds between two reports")
      ->check(CLI::Range(1, 60))
      ->capture_default_str();
  CLI::Option* once = app.add_flag("--once", options.once, "Show how the box is now, and end");
  app.add_option("--output", options.output, "With --once: table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->needs(once)
      ->capture_default_str();
  CLI::Option* check =
      app.add_flag("--check", options.check, "Whether signerd's last test signature was good, and end")->excludes(once);
  app.add_option("--wait", options.wait, "With --check: wait so many seconds for it")
      ->check(CLI::Range(0, 3600))
      ->needs(check)
      ->capture_default_str();
  app.add_flag("--console", options.console, "Say when signing begins and when the worst of the box changes")
      ->excludes(once)
      ->excludes(check);
  app.add_option("--signing", options.signing, "What signerd writes, for --check and --console")->capture_default_str();
  app.add_option("--sysfs", options.sources.sysfs, "Where sysfs is")->capture_default_str();
  app.add_option("--state", options.sources.state, "A folder on the file system that must have room")
      ->capture_default_str();
  app.add_option("--smartctl", options.sources.smartctl, "The program that asks disks")->capture_default_str();
  app.add_option("--chronyc", options.sources.chronyc, "The program that asks chronyd")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  if (options.once) return ShowOnce(options);
  const sigset_t signals = BlockEndSignals();
  if (options.check) return Check(options, signals);
  if (options.console) return RunConsole(options, signals);
  return Serve(options, signals);
}

}  // namespace
}  // namespace hallmark::health

int main(int argc, char** argv) { return hallmark::health::Main(argc, argv); }
