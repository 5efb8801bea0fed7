#include "firmware/runtime/encoding.h"

#include <boost/beast/core/detail/base64.hpp>
#include <boost/locale/utf.hpp>

namespace hallmark {
namespace {

namespace base64 = boost::beast::detail::base64;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string Base64Encode(ByteView octets) {
  std::string text(base64::encoded_size(octets.size()), '\0');
  text.resize(base64::encode(text.data(), octets.data(), octets.size()));
  return text;
}

Result<Bytes> Base64Decode(std::string_view text) {
  const Error error = MakeError(Reason::kInvalidArgument, "not valid base64");
  if (text.size() % 4 != 0) return error;
  Bytes octets(base64::decoded_size(text.size()));
  const auto [written, read] = base64::decode(octets.data(), text.data(), text.size());
  octets.resize(written);
  // The decoder stops at the first octet it does not know and forgives spare bits: what it made must say the same
  // again.
  if (Base64Encode(octets) != text) return error;
  return octets;
}

std::string HexEncode(ByteView octets) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(octets.size() * 2);
  for (const std::uint8_t octet : octets) {
    text.push_back(kDigits[octet >> 4]);
    text.push_back(kDigits[octet & 0x0f]);
  }
  return text;
}

Result<Bytes> HexDecode(std::string_view text) {
  const Error error =
      MakeError(Reason::kInvalidArgument, "not valid hexadecimal: expected an even number of digits 0-9 and a-f");
  if (text.size() % 2 != 0) return error;
  Bytes octets;
  octets.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]);
    const int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return error;
    octets.push_back(static_cast<std::uint8_t>(high << 4 | low));
  }
  return octets;
}

std::size_t Utf8Octets(std::string_view text) {
  const char* at = text.data();
  const auto character = boost::locale::utf::utf_traits<char>::decode(at, text.data() + text.size());
  return boost::locale::utf::is_valid_codepoint(character) ? static_cast<std::size_t>(at - text.data()) : 0;
}

}  // namespace hallmark
