#pragma once

#include <algorithm>
#include <string>
#include <string_view>

// ASCII only, whatever the locale: header names and tags are ASCII by definition.
namespace hallmark::dkim {

constexpr bool IsWsp(char c) { return c == ' ' || c == '\t'; }
// White space that may fold: RFC 6376 section 2.8.
constexpr bool IsFws(char c) { return IsWsp(c) || c == '\r' || c == '\n'; }
constexpr char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsAlpha(char c) { return Lower(c) >= 'a' && Lower(c) <= 'z'; }
// A character of a field name: RFC 5322 section 3.6.8.
constexpr bool IsFtext(char c) { return c > ' ' && c < '\x7f' && c != ':'; }

inline std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), &Lower);
  return lower;
}

inline bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Lower(x) == Lower(y); });
}

inline std::string_view TrimFws(std::string_view text) {
  while (!text.empty() && IsFws(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsFws(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace hallmark::dkim
