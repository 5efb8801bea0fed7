#include "firmware/health/report.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "firmware/runtime/file.h"

namespace hallmark::health {
namespace {

constexpr std::size_t kMostOctets = 256 << 10;
constexpr int kMostReadings = 256;
constexpr std::size_t kLongestName = 64, kLongestMessage = 200;

std::string Printable(std::string_view text, std::size_t most) {
  std::string clean(text.substr(0, most));
  std::replace_if(
      clean.begin(), clean.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return clean;
}

// What cannot be told is no reason to look, so it counts as good.
int Badness(Level level) { return level == kFailed ? 2 : level == kWarning ? 1 : 0; }

}  // namespace

Reading MakeReading(std::string_view name, Level level, std::string_view message, std::chrono::sys_seconds now) {
  Reading reading;
  reading.set_name(Printable(name, kLongestName));
  reading.set_level(level);
  reading.set_message(Printable(message, kLongestMessage));
  reading.mutable_observe_time()->set_seconds(now.time_since_epoch().count());
  return reading;
}

std::string_view LevelName(Level level) {
  if (level == kOk) return "OK";
  if (level == kWarning) return "WARNING";
  if (level == kFailed) return "FAILED";
  return "UNKNOWN";
}

Level Worst(const Report& report) {
  Level worst = kOk;
  for (const Reading& reading : report.readings()) {
    if (Badness(reading.level()) > Badness(worst)) worst = reading.level();
  }
  return worst;
}

void Sort(Report& report) {
  std::stable_sort(report.mutable_readings()->begin(), report.mutable_readings()->end(),
                   [](const Reading& a, const Reading& b) { return a.name() < b.name(); });
}

const Reading* Find(const Report& report, std::string_view name) {
  for (const Reading& reading : report.readings()) {
    if (reading.name() == name) return &reading;
  }
  return nullptr;
}

Result<Report> ParseReport(std::string_view text) {
  const auto invalid = [](const std::string& what) {
    return MakeError(Reason::kInvalidArgument, "not a report of the box's health: " + what);
  };
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a later version
  Report read;
  if (!google::protobuf::util::JsonStringToMessage({text.data(), text.size()}, &read, options).ok()) {
    return invalid("it is no JSON of one");
  }
  if (read.readings_size() > kMostReadings) return invalid("more than 256 readings");
  Report report;
  *report.mutable_observe_time() = read.observe_time();
  for (const Reading& reading : read.readings()) {
    if (reading.name().empty()) return invalid("a reading has no name");
    if (reading.level() < kOk || reading.level() > kUnknown) return invalid("a reading has no level");
    Reading clean = MakeReading(reading.name(), reading.level(), reading.message(), {});
    *clean.mutable_observe_time() = reading.observe_time();
    *report.add_readings() = std::move(clean);
  }
  return report;
}

Result<Report> ReadReport(const std::filesystem::path& path) {
  const auto text = ReadFile(path, kMostOctets);
  if (!text) return text.error();
  return ParseReport(*text);
}

std::string ToJson(const Report& report) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string text;
  // A message of this program's own, so it has a JSON form.
  if (!google::protobuf::util::MessageToJsonString(report, &text, options).ok()) std::abort();
  return text;
}

Status WriteReport(const std::filesystem::path& path, const Report& report) {
  return WriteFileAtomically(path, ToJson(report), 0644);
}

std::chrono::seconds AgeOf(const Report& report, std::chrono::sys_seconds now) {
  return now.time_since_epoch() - std::chrono::seconds(report.observe_time().seconds());
}

bool IsStale(const Report& report, std::chrono::sys_seconds now) {
  const auto age = AgeOf(report, now);
  return age > kStale || age < -kStale;
}

}  // namespace hallmark::health
