#pragma once

#include <google/protobuf/util/time_util.h>

#include <chrono>
#include <string>

namespace hallmark::service {

// For a person: "2026-11-27T17:29:00Z". Any thread.
inline std::string TimeText(std::chrono::sys_seconds time) {
  using google::protobuf::util::TimeUtil;
  return TimeUtil::ToString(TimeUtil::SecondsToTimestamp(time.time_since_epoch().count()));
}

}  // namespace hallmark::service
