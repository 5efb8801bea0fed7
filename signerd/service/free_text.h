#pragma once

#include <algorithm>
#include <string>

#include "firmware/runtime/result.h"

namespace hallmark::service {

// Why somebody does something, in their own words: it is kept, and goes into lists and on the ledger. kInvalidArgument.
// Any thread.
inline Status CheckReasonText(const std::string& reason) {
  constexpr std::size_t kMost = 200;
  const bool printable =
      std::none_of(reason.begin(), reason.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (reason.size() <= kMost && printable) return Ok();
  return MakeError(Reason::kInvalidArgument,
                   "reason: expected at most " + std::to_string(kMost) + " octets without control characters");
}

}  // namespace hallmark::service
