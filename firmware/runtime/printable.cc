#include "firmware/runtime/printable.h"

namespace hallmark {

std::string Printable(std::string_view octets, std::size_t most) {
  std::string text;
  for (const char c : octets.substr(0, most)) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet >= 0x20 && octet < 0x7f) {
      text += c;
    } else {
      const std::string digits = std::to_string(octet);
      text += '\\' + std::string(3 - digits.size(), '0') + digits;
    }
  }
  return octets.size() > most ? text + "..." : text;
}

}  // namespace hallmark
