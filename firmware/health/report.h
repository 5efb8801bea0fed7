#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/appliance.pb.h"

// How the box is, as readings: what hallmark-health writes, and what signerd makes of it with its own test signatures.
// All functions: any thread.
namespace hallmark::health {

using Reading = hallmark::admin::v1::HealthReading;
using Report = hallmark::admin::v1::HealthReport;
using Level = hallmark::admin::v1::HealthLevel;

inline constexpr Level kOk = hallmark::admin::v1::HEALTH_LEVEL_OK;
inline constexpr Level kWarning = hallmark::admin::v1::HEALTH_LEVEL_WARNING;
inline constexpr Level kFailed = hallmark::admin::v1::HEALTH_LEVEL_FAILED;
inline constexpr Level kUnknown = hallmark::admin::v1::HEALTH_LEVEL_UNKNOWN;

// How old a report may be before it says nothing any more.
inline constexpr std::chrono::minutes kStale{3};

// Names of readings that programs look for.
inline constexpr std::string_view kClock = "clock";
inline constexpr std::string_view kSensors = "sensors";
inline constexpr std::string_view kSigning = "signing/";  // and the token's name
// What a reading of kSigning says, as kUnknown, of a token without a key. Any other kUnknown there: not told yet.
inline constexpr std::string_view kNoKey = "no key in it to test with yet";

// Text from outside is cut to 64 and 200 octets, and what is not printable ASCII becomes '?'.
Reading MakeReading(std::string_view name, Level level, std::string_view message, std::chrono::sys_seconds now);

// "OK", "WARNING", "FAILED" or "UNKNOWN".
std::string_view LevelName(Level level);

// The worst of them; what cannot be told makes nothing worse. kOk where there are none.
Level Worst(const Report& report);

// By name, as a report has them.
void Sort(Report& report);
const Reading* Find(const Report& report, std::string_view name);

// JSON, as the API's messages are in JSON. kInvalidArgument for what is none, for more than 256 readings, and for one
// without a name or with an unknown level.
Result<Report> ParseReport(std::string_view text);
// ParseReport of a file; also kNotFound, and kInvalidArgument for one of more than 256 KiB.
Result<Report> ReadReport(const std::filesystem::path& path);
// As ParseReport reads it.
std::string ToJson(const Report& report);
// Atomically; everybody may read it.
Status WriteReport(const std::filesystem::path& path, const Report& report);

// How long ago it was made, by the wall clock: negative for one from the future.
std::chrono::seconds AgeOf(const Report& report, std::chrono::sys_seconds now);
// Older than kStale, or from a future as far off.
bool IsStale(const Report& report, std::chrono::sys_seconds now);

}  // namespace hallmark::health
