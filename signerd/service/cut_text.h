#pragma once

#include <string>

namespace hallmark::service {

// At most `most` octets of `text`, with "..." where it was longer; no character of UTF-8 is cut in two. Any thread.
inline std::string CutText(std::string text, std::size_t most) {
  constexpr std::string_view kCut = "...";
  if (text.size() <= most) return text;
  std::size_t end = most - kCut.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
  return text.append(kCut);
}

}  // namespace hallmark::service
