#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "hallmark/admin/v1/rotation.pb.h"

// Rotation in words, for a person.
namespace hallmark::ctl {

// Where one domain is: its keys, what comes next and what it waits for, and what an operator has to do in DNS.
std::string RotationText(const admin::v1::Rotation& rotation);
// A line or two for each domain.
std::string RotationsText(const admin::v1::ListRotationsResponse& answer);
std::string PolicyText(const admin::v1::RotationPolicy& policy);
std::string EventsText(const admin::v1::ListKeyEventsResponse& answer);

// "90d", "12h", "30m", "45s" in seconds; nothing when it is none.
std::optional<std::int64_t> ParseDuration(std::string_view text);
std::string DurationText(std::int64_t seconds);

}  // namespace hallmark::ctl
