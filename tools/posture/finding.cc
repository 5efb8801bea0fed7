#include "tools/posture/finding.h"

#include <algorithm>

#include "signerd/dkim/key_record.h"

namespace hallmark::posture {

std::string_view SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kNote: return "note";
    case Severity::kWarning: return "warning";
    case Severity::kError: return "error";
  }
  return "";
}

void Report::Add(const Kind& kind, std::string name, std::string what, std::vector<std::string> publish) {
  // Two ways lead to the same record now and then: an include that is there twice, say.
  const bool known = std::any_of(findings_.begin(), findings_.end(), [&](const Finding& finding) {
    return finding.kind->id == kind.id && finding.name == name && finding.what == what;
  });
  if (!known) findings_.push_back({&kind, std::move(name), std::move(what), std::move(publish)});
}

bool Report::Has(const Kind& kind) const {
  return std::any_of(findings_.begin(), findings_.end(),
                     [&](const Finding& finding) { return finding.kind->id == kind.id; });
}

std::string TxtLine(const std::string& name, std::string_view value) {
  return name + ". 3600 IN TXT " + dkim::ZoneFileTxt(value);
}

std::string AliasLine(const std::string& name, const std::string& target) {
  return name + ". 3600 IN CNAME " + target + ".";
}

std::string Quoted(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  std::string shown(text.substr(0, kLongest));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return "\"" + shown + (text.size() > kLongest ? "...\"" : "\"");
}

std::string Count(std::size_t number, std::string_view noun) {
  return std::to_string(number) + " " + std::string(noun) + (number == 1 ? "" : "s");
}

}  // namespace hallmark::posture
