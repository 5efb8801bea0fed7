#include "signerd/dkim/warnings.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"

namespace hallmark::dkim {
namespace {

constexpr std::uint64_t kLongestLine = 998;  // RFC 5322 section 2.1.1
constexpr std::chrono::seconds kLeastQueueTime = std::chrono::days(2);

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
  for (const char* known : {"from", "to", "cc", "reply-to", "sender", "resent-from", "resent-to", "resent-cc"}) {
    if (EqualsIgnoringCase(name, known)) return true;
  }
  return false;
}

// Whether a comma outside quoted strings and angle brackets is followed by something else than white space.
bool HasTightComma(std::string_view value) {
  bool quoted = false, angle = false;
  for (std::size_t i = 0; i + 1 < value.size(); ++i) {
    const char c = value[i];
    if (c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      continue;
    } else if (c == '<' || c == '>') {
      angle = c == '<';
    } else if (c == ',' && !angle && !IsFws(value[i + 1])) {
      return true;
    }
  }
  return false;
}

// A few of each kind: a header may have thousands of fields, and an answer must stay small.
class Warnings {
 public:
  void Add(WarningCode code, const std::string& message) {
    const auto same =
        std::count_if(list_.begin(), list_.end(), [=](const Warning& known) { return known.code == code; });
    if (same < kMaxOfAKind) list_.push_back({code, message});
  }
  std::vector<Warning> Take() { return std::move(list_); }

 private:
  static constexpr std::ptrdiff_t kMaxOfAKind = 10;
  std::vector<Warning> list_;
};

std::string Named(const Field& field) {
  constexpr std::size_t kShown = 100;
  return "the field " + std::string(field.name.substr(0, kShown));
}

void WarnOfFields(const Header& header, Warnings& warnings) {
  for (const Field& field : header.fields()) {
    const std::uint64_t longest = field.raw.size() <= kLongestLine ? 0 : LongestLine(field.raw);
    if (longest > kLongestLine) {
      warnings.Add(WarningCode::kLongLine,
                   Named(field) + " has a line of " + std::to_string(longest) +
                       " octets; the limit is 998, and a later hop that folds it breaks the signature");
    }
    if (IsAddressField(field.name) && HasTightComma(field.value)) {
      warnings.Add(WarningCode::kTightAddressList, Named(field) +
                                                       " has addresses without a space after the comma; a later "
                                                       "hop that puts one in breaks the signature");
    }
  }
}

void WarnOfBody(const BodyFacts& body, Warnings& warnings) {
  if (body.longest_line > kLongestLine) {
    warnings.Add(WarningCode::kLongLine,
                 "the body has a line of " + std::to_string(body.longest_line) +
                     " octets; the limit is 998, and a later hop that cuts it breaks the signature");
  }
  if (body.ends_without_crlf) {
    warnings.Add(WarningCode::kNoFinalCrlf,
                 "the body does not end in CRLF; it was signed as if it did, as it will be on the wire");
  }
}

void WarnOfLineEnds(LineFacts lines, const BodyFacts* body, Warnings& warnings) {
  if (body != nullptr) {
    lines.bare_lf += body->lines.bare_lf;
    lines.bare_cr += body->lines.bare_cr;
  }
  if (lines.bare_lf != 0) {
    warnings.Add(WarningCode::kBareLf,
                 std::to_string(lines.bare_lf) + " bare LF counted as CRLF; send the message with CRLF");
  }
  if (lines.bare_cr != 0) {
    warnings.Add(WarningCode::kBareCr,
                 std::to_string(lines.bare_cr) + " bare CR counted as CRLF; send the message with CRLF");
  }
}

}  // namespace

std::vector<Warning> FindWarnings(const Header& header, const BodyFacts* body, const SigningProfile& profile) {
  Warnings warnings;
  WarnOfFields(header, warnings);
  if (body != nullptr) WarnOfBody(*body, warnings);
  WarnOfLineEnds(header.line_facts(), body, warnings);
  if (profile.body_length) {
    warnings.Add(WarningCode::kBodyLengthTag,
                 "the signing profile writes l=: anyone can append to the message without breaking "
                 "the signature, and some receivers ignore such signatures");
  }
  if (profile.expires_after && *profile.expires_after < kLeastQueueTime) {
    warnings.Add(WarningCode::kEarlyExpiry,
                 "the signing profile has signatures expire after " + std::to_string(profile.expires_after->count()) +
                     " s (x=): mail waits in queues for days, and what is late is taken for unsigned");
  }
  return warnings.Take();
}

}  // namespace hallmark::dkim
