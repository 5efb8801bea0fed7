#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hallmark::posture {

enum class Severity : std::uint8_t { kNote, kWarning, kError };
std::string_view SeverityName(Severity severity);  // "error"

// A kind of finding; kinds.h has them all. The id is stable: scripts go by it.
struct Kind {
  std::string_view id;  // "SPF_MISSING"
  Severity severity;
  std::string_view why;  // why it matters: one sentence
};

struct Finding {
  const Kind* kind;
  std::string name;                  // the owner name that it is about, without the final dot
  std::string what;                  // what is wrong: one sentence
  std::vector<std::string> publish;  // zone-file lines that put it right; empty where none can be named
};

// What the checks of one domain found, in the order of the checks. Not thread-safe.
class Report {
 public:
  void Add(const Kind& kind, std::string name, std::string what, std::vector<std::string> publish = {});
  bool Has(const Kind& kind) const;
  const std::vector<Finding>& findings() const { return findings_; }

 private:
  std::vector<Finding> findings_;
};

// "example.com. 3600 IN TXT "..."": `value` quoted and cut as zone files have it.
std::string TxtLine(const std::string& name, std::string_view value);

// "a.example.com. 3600 IN CNAME b.example.net."
std::string AliasLine(const std::string& name, const std::string& target);

// Text from elsewhere as a part of a sentence: in quotes, shortened, control characters as '?'.
std::string Quoted(std::string_view text);

// "1 record", "2 records".
std::string Count(std::size_t number, std::string_view noun);

}  // namespace hallmark::posture
