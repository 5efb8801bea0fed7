#pragma once

#include <string>
#include <string_view>

namespace hallmark {

// Octets of others as text that does nothing to a terminal and is UTF-8: what is not printable ASCII as \DDD, as in a
// zone file (RFC 1035 section 5.1); what is longer than `most` octets is cut, and ends in "...". Any thread.
std::string Printable(std::string_view octets, std::size_t most);

// A character that a terminal acts on, or that turns what follows it around: C0, DEL, C1 (U+0080 to U+009F, and an
// octet of that range that is in no UTF-8), and the marks of the direction of writing that hold on (U+202A to U+202E,
// U+2066 to U+2069).
struct Control {
  char32_t code = 0;
  std::size_t octets = 0;  // 0: there is none
};
// The one that `text` begins with. Any thread.
Control ControlAt(std::string_view text);

// `text` with `mark` in place of each of them; all else, what is no UTF-8 too, stays as it is. Any thread.
std::string WithoutControls(std::string_view text, char mark);

}  // namespace hallmark
