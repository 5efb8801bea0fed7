#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark::provision {

// What a pusher begins with (push_server.h): "HALLMARK-PUSH 1 CODE SIZE".
struct PushRequest {
  std::string code;      // as it came: any octets but a blank, or none
  std::size_t size = 0;  // of what follows; not more than a configuration may have
};

// Foreign: any octets. kInvalidArgument for anything else than such a line.
Result<PushRequest> ReadPushRequest(std::string_view line);

}  // namespace hallmark::provision
