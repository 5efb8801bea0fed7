#pragma once

#include <string>
#include <string_view>
#include <vector>

// Body canonicalization (RFC 6376 sections 3.4.3 and 3.4.4) written line by line from the text of the RFC, with the
// whole body in memory: what the streaming one is compared with. Shares no code with it.
namespace naive {

// Every line end becomes CRLF: CRLF itself, a CR without LF, and an LF without CR.
inline std::vector<std::string> Lines(std::string_view body) {
  std::vector<std::string> lines(1);
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (body[i] == '\r' && i + 1 < body.size() && body[i + 1] == '\n') continue;
    if (body[i] == '\r' || body[i] == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += body[i];
    }
  }
  if (lines.back().empty()) lines.pop_back();
  return lines;
}

inline std::string ReduceSpace(const std::string& line) {
  std::string out;
  for (const char c : line) {
    if (c != ' ' && c != '\t') {
      out += c;
    } else if (out.empty() || out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

inline std::string Body(bool relaxed, std::string_view body) {
  std::vector<std::string> lines = Lines(body);
  if (relaxed) {
    for (std::string& line : lines) line = ReduceSpace(line);
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.empty()) return relaxed ? "" : "\r\n";
  std::string out;
  for (const std::string& line : lines) out += line + "\r\n";
  return out;
}

}  // namespace naive
