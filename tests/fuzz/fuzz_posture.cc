#include <algorithm>
#include <map>
#include <string>

#include "check.h"
#include "tools/posture/dmarc_record.h"
#include "tools/posture/posture.h"
#include "tools/posture/spf_record.h"
#include "tools/posture/suggest.h"

// A DNS of the fuzzer's: lines "NAME TYPE VALUE", where NAME stands for NAME.example.com ("@" for that itself) and TYPE
// is one letter. Judging it ends, with sentences that can be shown; suggesting makes records that read as what they
// are.
namespace {

using namespace hallmark;
using namespace hallmark::posture;

using Zone = std::multimap<std::pair<std::string, dns::RecordType>, std::string>;

std::string Absolute(std::string_view name) {
  return name == "@" || name.empty() ? "example.com" : std::string(name) + ".example.com";
}

Zone ReadZone(std::string_view text) {
  Zone zone;
  while (!text.empty() && zone.size() < 64) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t first = line.find(' ');
    if (first == std::string_view::npos || first + 3 > line.size()) continue;
    const std::size_t type = std::string_view("TA6MS").find(line[first + 1]);
    if (type == std::string_view::npos) continue;
    std::string value(line.substr(first + 3));
    const bool host = line[first + 1] == 'M';  // the resolver gives names in presentation form
    if (host)
      std::replace_if(
          value.begin(), value.end(), [](char c) { return c < ' ' || c > '~'; }, '-');
    zone.emplace(std::pair(Absolute(line.substr(0, first)), static_cast<dns::RecordType>(type)), std::move(value));
  }
  return zone;
}

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != 0x7f; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Zone zone = ReadZone({reinterpret_cast<const char*>(data), size});
  std::size_t asked = 0;
  const Lookup lookup = [&](const std::string& name, dns::RecordType type) -> Result<dns::Answer> {
    ++asked;
    const auto [first, last] = zone.equal_range({name, type});
    dns::Answer answer{{}, !name.starts_with("no"), ""};
    for (auto record = first; record != last; ++record) answer.values.push_back(record->second);
    if (answer.values.size() == 5) return MakeError(Reason::kIoFailed, "no answer for it");
    return answer;
  };
  Report report;
  CheckDomain({"example.com", {{"s", KeyUse::kActive, {}, ""}, {"t", KeyUse::kRevoked, {}, ""}}, "@a.example.com", {}},
              lookup, report);
  Check(asked < 10000, "the number of questions is bounded");
  for (const Finding& finding : report.findings()) {
    Check(!finding.what.empty() && !finding.name.empty(), "a finding says what and where");
    Check(finding.kind->id == "DNS_NO_ANSWER" || IsPrintable(finding.what), "a finding can be shown");
    for (const std::string& line : finding.publish) Check(IsPrintable(line), "a record can be shown");
  }
  const auto sections = Suggest({"example.com", {}, {}, "", {"192.0.2.1"}, {}, "", "", "1"}, lookup);
  Check(sections.has_value() || sections.error().reason == Reason::kIoFailed, "what is published is no argument");
  for (const auto& [key, value] : zone) {
    if (!IsSpf(value)) continue;
    const auto record = ParseSpf(value);
    if (!record) continue;
    std::string again = "v=spf1";
    for (const SpfTerm& term : record->terms) again += " " + term.text;
    const auto same = ParseSpf(again);
    Check(same && same->terms.size() == record->terms.size(), "terms read the same");
    for (const SpfTerm& term : record->terms) ExpandForDomain(term.domain_spec, "example.com");
  }
  return 0;
}
