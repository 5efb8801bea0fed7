#pragma once

#include <string>
#include <string_view>

namespace hallmark {

// Octets of others as text that does nothing to a terminal and is UTF-8: what is not printable ASCII as \DDD, as in a
// zone file (RFC 1035 section 5.1); what is longer than `most` octets is cut, and ends in "...". Any thread.
std::string Printable(std::string_view octets, std::size_t most);

}  // namespace hallmark
