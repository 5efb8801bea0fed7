#include "firmware/health/clock_state.h"

#include <sys/timex.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

namespace hallmark::health {
namespace {

using std::chrono::sys_seconds;

constexpr std::chrono::seconds kMostError{1};

std::string Date(sys_seconds time) {
  const std::time_t seconds = time.time_since_epoch().count();
  std::tm parts{};
  char text[32] = "?";
  if (::gmtime_r(&seconds, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

std::vector<std::string_view> Split(std::string_view line) {
  std::vector<std::string_view> fields;
  while (true) {
    const std::size_t comma = line.find(',');
    fields.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

}  // namespace

Result<ClockState> AskKernel() {
  timex facts{};
  if (::adjtimex(&facts) < 0) return MakeError(Reason::kIoFailed, std::string("adjtimex: ") + std::strerror(errno));
  return ClockState{(facts.status & STA_UNSYNC) == 0, std::chrono::microseconds(facts.maxerror)};
}

// chronyc(1), "tracking": reference ID, source, stratum, reference time, offset, last offset, RMS offset, frequency,
// residual frequency, skew, root delay, root dispersion, update interval, leap status.
std::optional<std::string> DescribeTracking(std::string_view answer) {
  answer = answer.substr(0, answer.find('\n'));
  const auto fields = Split(answer);
  if (fields.size() != 14 || fields[1].empty() || fields[13] == "Not synchronised") return std::nullopt;
  double offset = 0;
  const auto [end, error] = std::from_chars(fields[4].data(), fields[4].data() + fields[4].size(), offset);
  if (error != std::errc() || end != fields[4].data() + fields[4].size() || !std::isfinite(offset)) return std::nullopt;
  char text[64];
  std::snprintf(text, sizeof text, ", %.1f ms off", std::abs(offset) * 1000);
  return std::string(fields[1]) + text;
}

Reading JudgeClock(const Result<ClockState>& state, const std::optional<std::string>& source, sys_seconds not_before,
                   sys_seconds now) {
  if (now < not_before) {
    return MakeReading(
        kClock, kFailed,
        "the clock is wrong: it says " + Date(now) + ", and this version was made on " + Date(not_before), now);
  }
  if (!state) return MakeReading(kClock, kUnknown, state.error().message, now);
  const std::string by = source ? ", by " + *source : "";
  if (!state->synchronised) return MakeReading(kClock, kWarning, "not synchronised: no time server reached", now);
  char error[64];
  std::snprintf(error, sizeof error, "at most %.3f s off", std::chrono::duration<double>(state->largest_error).count());
  if (state->largest_error > kMostError) {
    return MakeReading(kClock, kWarning, "synchronised long ago: " + std::string(error) + by, now);
  }
  return MakeReading(kClock, kOk, "synchronised" + by + "; " + error, now);
}

}  // namespace hallmark::health
