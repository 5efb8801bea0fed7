#include <algorithm>
#include <string>

#include "check.h"
#include "firmware/health/clock_state.h"
#include "firmware/health/disks.h"
#include "firmware/health/report.h"

// What the box's health is read from: chronyd's answer, smartctl's, an eMMC's registers, and the report that another
// program wrote. What comes out can be shown, and a report reads the same.
namespace {

using namespace hallmark;
using namespace hallmark::health;
using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr sys_seconds kNow{seconds(1'700'000'000)};

void CheckReading(const Reading& reading) {
  const auto printable = [](const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  };
  Check(printable(reading.name()) && printable(reading.message()), "a reading can be shown");
  Check(reading.name().size() <= 64 && reading.message().size() <= 200, "a reading is short");
}

void CheckTracking(std::string_view answer) {
  const auto tracking = ParseTracking(answer);
  if (tracking) {
    Check(tracking->offset.count() >= 0 && tracking->offset < std::chrono::hours(24 * 366 * 100),
          "an offset is bounded");
  }
  const Reading reading = JudgeClock(tracking, kNow - seconds(1), kNow);
  CheckReading(reading);
  Check(reading.level() != kOk || (tracking && tracking->synchronised && tracking->largest_error <= seconds(1)),
        "a clock that may be off by more is not good");
}

void CheckReport(std::string_view text) {
  const auto report = ParseReport(text);
  if (!report) return;
  for (const Reading& reading : report->readings()) CheckReading(reading);
  Worst(*report);
  IsStale(*report, kNow);
  const auto again = ParseReport(ToJson(*report));
  Check(again && again->SerializeAsString() == report->SerializeAsString(), "a report reads the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckTracking(text);
  CheckReport(text);
  CheckReading(JudgeSmart("disk/sda", text, kNow));
  const std::string_view line = text.substr(0, text.find('\n'));
  CheckReading(JudgeEmmc("disk/mmcblk0", line, text.substr(std::min(line.size() + 1, text.size())), kNow));
  return 0;
}
