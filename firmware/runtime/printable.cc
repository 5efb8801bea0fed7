#include "firmware/runtime/printable.h"

#include <algorithm>

#include "firmware/runtime/encoding.h"

namespace hallmark {
namespace {

unsigned char Octet(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

}  // namespace

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

Control ControlAt(std::string_view text) {
  if (text.empty()) return {};
  const unsigned char first = Octet(text, 0);
  if (first < 0x20 || (first >= 0x7f && first < 0xa0)) return {first, 1};
  if (first < 0x80) return {};
  if (first == 0xc2 && text.size() > 1 && Octet(text, 1) >= 0x80 && Octet(text, 1) < 0xa0) return {Octet(text, 1), 2};
  if (first != 0xe2 || Utf8Octets(text) != 3) return {};
  const char32_t code = 0x2000u + (Octet(text, 1) - 0x80u) * 0x40u + (Octet(text, 2) - 0x80u);
  const bool turns = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return turns ? Control{code, 3} : Control{};
}

std::string WithoutControls(std::string_view text, char mark) {
  std::string kept;
  while (!text.empty()) {
    const std::size_t control = ControlAt(text).octets;
    const std::size_t octets = std::max<std::size_t>(control != 0 ? control : Utf8Octets(text), 1);
    control != 0 ? kept.append(1, mark) : kept.append(text.substr(0, octets));
    text.remove_prefix(octets);
  }
  return kept;
}

}  // namespace hallmark
