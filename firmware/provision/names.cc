#include "firmware/provision/names.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace hallmark::provision {
namespace {

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlphanumeric(char c) { return IsLower(c) || IsDigit(c) || (c >= 'A' && c <= 'Z'); }

bool IsLabel(std::string_view label) {
  return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
         std::all_of(label.begin(), label.end(), [](char c) { return IsLower(c) || IsDigit(c) || c == '-'; });
}

// Calls `part` with each piece of `text` between `separator`s; false as soon as one is refused.
template <class Accept>
bool EachPart(std::string_view text, char separator, const Accept& accept) {
  while (true) {
    const std::size_t end = text.find(separator);
    if (!accept(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

// AF_INET, AF_INET6, or 0 for what is no address.
int FamilyOf(std::string_view text) {
  unsigned char address[sizeof(in6_addr)];
  const std::string name(text);
  if (name.find('\0') != std::string::npos) return 0;
  if (::inet_pton(AF_INET, name.c_str(), address) == 1) return AF_INET;
  return ::inet_pton(AF_INET6, name.c_str(), address) == 1 ? AF_INET6 : 0;
}

}  // namespace

bool IsHostName(std::string_view text) {
  if (text.empty() || text.size() > 253 || !EachPart(text, '.', IsLabel)) return false;
  // The last label of an address is a number; that of a name never is.
  const std::string_view last = text.substr(text.rfind('.') + 1);
  return !std::all_of(last.begin(), last.end(), IsDigit);
}

bool IsBoxName(std::string_view text) { return text.size() <= 64 && IsHostName(text); }

bool IsIpAddress(std::string_view text) { return FamilyOf(text) != 0; }

bool IsIpPrefix(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  const int family = FamilyOf(text.substr(0, slash));
  const std::string_view length = text.substr(slash + 1);
  unsigned bits = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bits);
  return family != 0 && error == std::errc() && end == length.data() + length.size() && bits >= 1 &&
         bits <= (family == AF_INET ? 32u : 128u);
}

bool IsInterfaceName(std::string_view text) {
  return !text.empty() && text.size() <= 15 && std::all_of(text.begin(), text.end(), [](char c) {
    return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-';
  });
}

bool IsFileName(std::string_view text) {
  return text.size() <= 128 && std::count(text.begin(), text.end(), '/') <= 2 &&
         EachPart(text, '/', [](std::string_view part) {
           return !part.empty() && part.front() != '.' && std::all_of(part.begin(), part.end(), [](char c) {
             return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-';
           });
         });
}

}  // namespace hallmark::provision
