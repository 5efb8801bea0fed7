#include "signerd/dkim/warnings.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"

namespace hallmark::dkim {
namespace {

constexpr std::uint64_t kLongestLine = 998;  // RFC 5322 section 2.1.1

std::uint64_t LongestLine(std::string_view field) {
  std::uint64_t longest = 0;
  for (std::size_t start = 0; start < field.size();) {
    const std::size_t end = field.find("\r\n", start);
    longest = std::max<std::uint64_t>(longest, end - start);
    start = end + 2;
  }
  return longest;
}

bool IsAddressField(std::string_view name) {
  for (const char* known : {"from", "to", "cc", "reply-to", "sender"}) {
    if (EqualsIgnoringCase(name, known)) return true;
  }
  return false;
}

// Whether a comma outside quoted strings and angle brackets is followed by something else than white space.
bool HasTightComma(std::string_view value) {
  bool quoted = false;
  for (std::size_t i = 0; i + 1 < value.size(); ++i) {
    if (value[i] == '\\') {
      ++i;
    } else if (value[i] == '"') {
      quoted = !quoted;
    } else if (value[i] == ',' && !quoted && !IsFws(value[i + 1])) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<Warning> FindWarnings(const Header& header, const BodyFacts* body, const SigningProfile& profile) {
  std::vector<Warning> warnings;
  const auto warn = [&](WarningCode code, const std::string& message) { warnings.push_back({code, message}); };
  for (const Field& field : header.fields()) {
    const std::uint64_t longest = LongestLine(field.raw);
    if (longest > kLongestLine) {
      warn(WarningCode::kLongLine, "the field " + std::string(field.name) + " has a line of " + std::to_string(longest) +
                                       " octets; the limit is 998, and a later hop that folds it breaks the signature");
    }
    if (IsAddressField(field.name) && HasTightComma(field.value)) {
      warn(WarningCode::kTightAddressList, "the field " + std::string(field.name) +
                                               " has addresses without a space after the comma; a later hop that puts one "
                                               "in breaks the signature");
    }
  }
  LineFacts lines = header.line_facts();
  if (body != nullptr) {
    lines.bare_lf += body->lines.bare_lf;
    lines.bare_cr += body->lines.bare_cr;
    if (body->longest_line > kLongestLine) {
      warn(WarningCode::kLongLine, "the body has a line of " + std::to_string(body->longest_line) +
                                       " octets; the limit is 998, and a later hop that cuts it breaks the signature");
    }
    if (body->ends_without_crlf) {
      warn(WarningCode::kNoFinalCrlf, "the body does not end in CRLF; it was signed as if it did, as it will be on the wire");
    }
  }
  if (lines.bare_lf != 0) {
    warn(WarningCode::kBareLf, std::to_string(lines.bare_lf) + " bare LF counted as CRLF; send the message with CRLF");
  }
  if (lines.bare_cr != 0) {
    warn(WarningCode::kBareCr, std::to_string(lines.bare_cr) + " bare CR counted as CRLF; send the message with CRLF");
  }
  if (profile.body_length) {
    warn(WarningCode::kBodyLengthTag, "the signing profile writes l=: anyone can append to the message without breaking the "
                                      "signature, and some receivers ignore such signatures");
  }
  return warnings;
}

}  // namespace hallmark::dkim
