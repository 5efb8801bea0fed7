#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::posture {

// One address that reports go to: rua=, ruf=.
struct ReportUri {
  std::string text;    // as it is written, without a size
  bool mailto = true;  // else https
  std::string domain;  // of the mailbox or the host: lower case
};

// "mailto:dmarc@example.com", "https://example.com/tlsrpt". kInvalidArgument says what is wrong. `with_size`: "!10m"
// may follow (RFC 7489 section 6.2).
Result<ReportUri> ParseReportUri(std::string_view text, bool with_size);

// Cut at commas, which URIs may not hold.
std::vector<std::string_view> SplitUris(std::string_view list);

}  // namespace hallmark::posture
