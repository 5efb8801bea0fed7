#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/posture/lookup.h"

namespace hallmark::posture {

// Whether a TXT record begins as senders want it, to the letter: they discard any other (RFC 8461 section 3.1, RFC 8460
// section 3).
bool IsMtaSts(std::string_view text);
bool IsTlsRpt(std::string_view text);

// The id= of an MTA-STS record (RFC 8461 section 3.1). kInvalidArgument: no tag list, or id= is missing or not 1 to 32
// letters and digits.
Result<std::string> ParseMtaSts(std::string_view text);
// The rua= of a TLS-RPT record (RFC 8460 section 3), as they are written. kInvalidArgument: no tag list, or no rua=.
Result<std::vector<std::string>> ParseTlsRpt(std::string_view text);

// TLS-RPT alone.
void CheckTlsRpt(const std::string& domain, bool takes_mail, Dns& dns, Report& report);

// MTA-STS and TLS-RPT, for mail to the domain. `takes_mail`: whether there is any; without it nothing is missing.
void CheckTransport(const std::string& domain, bool takes_mail, Dns& dns, Report& report);

}  // namespace hallmark::posture
