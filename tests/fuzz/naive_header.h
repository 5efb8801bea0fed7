#pragma once

#include <string>
#include <string_view>
#include <vector>

// Header canonicalization and the choice of signed fields (RFC 6376 sections 3.4.1, 3.4.2, 3.7 and 5.4.2) written from
// the text of the RFC, for messages whose lines end in CRLF. Shares no code with ours.
namespace naive {

// Each with its folds and final CRLF. A line that begins with white space continues the one before.
inline std::vector<std::string> Fields(std::string_view header) {
  std::vector<std::string> fields;
  while (!header.empty()) {
    const std::string_view line = header.substr(0, header.find("\r\n") + 2);
    if (line == "\r\n") break;
    if (fields.empty() || (line.front() != ' ' && line.front() != '\t')) fields.emplace_back();
    fields.back() += line;
    header.remove_prefix(line.size());
  }
  return fields;
}

inline std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

inline std::string NameOf(const std::string& field) {
  std::string name = LowerCase(std::string_view(field).substr(0, field.find(':')));
  while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.pop_back();
  return name;
}

// Without the final CRLF.
inline std::string RelaxedField(const std::string& field) {
  std::string value;
  for (const char c : field.substr(field.find(':') + 1)) {
    if (c == '\r' || c == '\n') continue;
    if (c != ' ' && c != '\t') {
      value += c;
    } else if (!value.empty() && value.back() != ' ') {
      value += ' ';
    }
  }
  if (!value.empty() && value.back() == ' ') value.pop_back();
  return NameOf(field) + ":" + value;
}

// What is hashed: the fields that `names` say, each name once for each time that it is there, from the bottom up, and
// last the signature's own field with an empty b=.
inline std::string SignedHeader(bool relaxed, std::string_view header, const std::vector<std::string>& names,
                                const std::string& signature_field) {
  std::vector<std::string> left = Fields(header);
  std::string octets;
  for (const std::string& name : names) {
    for (std::size_t i = left.size(); i-- > 0;) {
      if (NameOf(left[i]) != LowerCase(name)) continue;
      octets += relaxed ? RelaxedField(left[i]) + "\r\n" : left[i];
      left.erase(left.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
  }
  return octets + (relaxed ? RelaxedField(signature_field) : signature_field);
}

}  // namespace naive
