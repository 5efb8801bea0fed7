#pragma once

#include <string>

#include "tools/posture/lookup.h"

namespace hallmark::posture {

// SPF of `domain` (RFC 7208): the record, and everything that it includes or redirects to. Lookups are counted as for a
// message that nothing matches. Names what others' records let in.
void CheckSpf(const std::string& domain, Dns& dns, Report& report);

}  // namespace hallmark::posture
