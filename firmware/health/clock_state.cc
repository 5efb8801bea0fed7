#include "firmware/health/clock_state.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
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

// Far less than what a number of microseconds can hold, and far more than what is believed.
constexpr double kMostSeconds = 1e9;

std::optional<double> Seconds(std::string_view field) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), seconds);
  const bool whole = error == std::errc() && end == field.data() + field.size();
  return whole && std::abs(seconds) < kMostSeconds ? std::optional(seconds) : std::nullopt;
}

std::chrono::microseconds Microseconds(double seconds) {
  return std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6));
}

}  // namespace

// chronyc(1), "tracking": reference ID, source, stratum, reference time, offset, last offset, RMS offset, frequency,
// residual frequency, skew, root delay, root dispersion, update interval, leap status. There too: what bounds the
// error.
std::optional<Tracking> ParseTracking(std::string_view answer) {
  answer = answer.substr(0, answer.find('\n'));
  const auto fields = Split(answer);
  if (fields.size() != 14) return std::nullopt;
  const auto offset = Seconds(fields[4]), delay = Seconds(fields[10]), dispersion = Seconds(fields[11]);
  if (!offset || !delay || !dispersion) return std::nullopt;
  const double error = std::abs(*offset) + *dispersion + *delay / 2;
  return Tracking{!fields[1].empty() && fields[13] != "Not synchronised", std::string(fields[1]),
                  Microseconds(std::abs(*offset)), Microseconds(error)};
}

Reading JudgeClock(const std::optional<Tracking>& tracking, sys_seconds not_before, sys_seconds now) {
  if (now < not_before) {
    return MakeReading(
        kClock, kFailed,
        "the clock is wrong: it says " + Date(now) + ", and this version was made on " + Date(not_before), now);
  }
  if (!tracking) return MakeReading(kClock, kWarning, "not synchronised: chronyd does not answer", now);
  if (!tracking->synchronised) return MakeReading(kClock, kWarning, "not synchronised: no time server reached", now);
  using Fractional = std::chrono::duration<double>;
  char numbers[96];
  std::snprintf(numbers, sizeof numbers, ", %.1f ms off; at most %.3f s off",
                Fractional(tracking->offset).count() * 1000, Fractional(tracking->largest_error).count());
  const std::string by = ", by " + tracking->source + numbers;
  if (tracking->largest_error > kMostError) return MakeReading(kClock, kWarning, "synchronised long ago" + by, now);
  return MakeReading(kClock, kOk, "synchronised" + by, now);
}

}  // namespace hallmark::health
