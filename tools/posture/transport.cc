#include "tools/posture/transport.h"

#include <algorithm>
#include <utility>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/tag_list.h"
#include "tools/posture/kinds.h"
#include "tools/posture/report_uri.h"

namespace hallmark::posture {
namespace {

constexpr std::size_t kLongestId = 32;

bool IsOfId(char c) { return dkim::IsAlpha(c) || dkim::IsDigit(c); }

// One part of a record that may be no tag list.
struct Part {
  std::string_view name;   // empty where it is no NAME=...
  std::string_view value;  // behind the "="; the whole part where it has no name
};

// Those that are not empty. What stands before the "=" of an address with a query is no name.
std::vector<Part> PartsOf(const std::vector<std::string>& records) {
  std::vector<Part> parts;
  for (const std::string& record : records) {
    for (const std::string_view part : dkim::SplitList(record, ';')) {
      const std::size_t end = part.find_first_of("=:@");
      const bool named = end != std::string_view::npos && part[end] == '=';
      if (named) parts.push_back({dkim::TrimFws(part.substr(0, end)), dkim::TrimFws(part.substr(end + 1))});
      if (!named && !part.empty()) parts.push_back({"", part});
    }
  }
  return parts;
}

// Of two dates, or two numbers, the later one is greater.
bool IsOlder(const std::string& id, const std::string& other) {
  return id.size() != other.size() ? id.size() < other.size() : id < other;
}

// One record with an id that is there, without what an id may not have; of several the newest, as far as that can be
// seen. None where there is no id.
std::vector<std::string> OneMtaSts(const std::string& owner, const std::vector<std::string>& records) {
  std::string kept;
  for (const Part& part : PartsOf(records)) {
    if (part.name != "id") continue;
    std::string id(part.value);
    std::erase_if(id, [](char c) { return !IsOfId(c); });
    kept = std::max(kept, id.substr(0, kLongestId), &IsOlder);
  }
  if (kept.empty()) return {};
  return {TxtLine(owner, "v=STSv1; id=" + kept + ";")};
}

// As reports can go to it: a mail address alone lacks its "mailto:". Empty where it is no address.
std::string Usable(std::string_view address) {
  if (ParseReportUri(address, false)) return std::string(address);
  const std::string mail = "mailto:" + std::string(address);
  return address.find(':') == std::string_view::npos && ParseReportUri(mail, false) ? mail : "";
}

// One record with the addresses that are there, those behind a ";" in place of a "," too. None where none of them can
// be used, or where it cannot be told what a part without a name is.
std::vector<std::string> OneTlsRpt(const std::string& owner, const std::vector<std::string>& records) {
  std::vector<std::string> addresses;
  for (const Part& part : PartsOf(records)) {
    if (!part.name.empty() && part.name != "rua") continue;
    for (const std::string_view written : SplitUris(part.value)) {
      std::string address = Usable(written);
      if (address.empty() && part.name.empty()) return {};
      if (address.empty() || std::find(addresses.begin(), addresses.end(), address) != addresses.end()) continue;
      addresses.push_back(std::move(address));
    }
  }
  if (addresses.empty()) return {};
  std::string text = "v=TLSRPTv1; rua=";
  for (const std::string& address : addresses) text += (&address == &addresses.front() ? "" : ",") + address;
  return {TxtLine(owner, text)};
}

void CheckMtaSts(const std::string& domain, bool takes_mail, Dns& dns, Report& report) {
  const std::string owner = "_mta-sts." + domain;
  const Fetched fetched = dns.FetchTxt(owner, &IsMtaSts);
  if (fetched.state == Fetched::State::kNone) {
    if (takes_mail && !fetched.aliased_nowhere)
      report.Add(kinds::kMtaStsMissing, owner, "there is no MTA-STS record at " + owner + Instead(fetched));
    return;
  }
  if (fetched.state == Fetched::State::kUnavailable) return;
  if (fetched.state == Fetched::State::kSeveral) {
    report.Add(kinds::kMtaStsSeveralRecords, owner,
               "there are " + std::to_string(fetched.records.size()) + " MTA-STS records at " + owner,
               OneMtaSts(owner, fetched.records));
    return;
  }
  if (const auto id = ParseMtaSts(fetched.records.front()); !id) {
    report.Add(kinds::kMtaStsSyntax, owner, id.error().message, OneMtaSts(owner, fetched.records));
    return;
  }
  const std::string host = "mta-sts." + domain;
  if (const auto address = dns.HasAddress(host); address && !*address)
    report.Add(kinds::kMtaStsHostMissing, host, host + " has no address");
  report.Add(kinds::kMtaStsNotFetched, owner, "the policy at https://" + host + " was not fetched");
}

}  // namespace

bool IsMtaSts(std::string_view text) { return text.starts_with("v=STSv1;"); }

Result<std::string> ParseMtaSts(std::string_view text) {
  const auto tags = dkim::TagList::Parse(text);
  if (!tags) return tags.error();
  if (!IsMtaSts(text)) return MakeError(Reason::kInvalidArgument, "v=STSv1 is not the first tag");
  const std::string_view id = tags->Value("id");
  if (id.empty() || id.size() > kLongestId || !std::all_of(id.begin(), id.end(), &IsOfId))
    return MakeError(Reason::kInvalidArgument, "id= is not 1 to 32 letters and digits");
  return std::string(id);
}

bool IsTlsRpt(std::string_view text) { return text.starts_with("v=TLSRPTv1;"); }

Result<std::vector<std::string>> ParseTlsRpt(std::string_view text) {
  const auto tags = dkim::TagList::Parse(text);
  if (!tags) return tags.error();
  if (!IsTlsRpt(text)) return MakeError(Reason::kInvalidArgument, "v=TLSRPTv1 is not the first tag");
  const std::string_view rua = tags->Value("rua");
  if (rua.empty()) return MakeError(Reason::kInvalidArgument, "rua= is missing");
  std::vector<std::string> addresses;
  for (const std::string_view uri : SplitUris(rua)) addresses.emplace_back(uri);
  return addresses;
}

void CheckTlsRpt(const std::string& domain, bool takes_mail, Dns& dns, Report& report) {
  const std::string owner = "_smtp._tls." + domain;
  const Fetched fetched = dns.FetchTxt(owner, &IsTlsRpt);
  if (fetched.state == Fetched::State::kNone) {
    if (takes_mail && !fetched.aliased_nowhere)
      report.Add(kinds::kTlsRptMissing, owner, "there is no TLS-RPT record at " + owner + Instead(fetched),
                 {TxtLine(owner, "v=TLSRPTv1; rua=mailto:tls-reports@" + domain)});
    return;
  }
  if (fetched.state == Fetched::State::kUnavailable) return;
  if (fetched.state == Fetched::State::kSeveral) {
    report.Add(kinds::kTlsRptSeveralRecords, owner,
               "there are " + std::to_string(fetched.records.size()) + " TLS-RPT records at " + owner,
               OneTlsRpt(owner, fetched.records));
    return;
  }
  const auto addresses = ParseTlsRpt(fetched.records.front());
  if (!addresses) {
    report.Add(kinds::kTlsRptSyntax, owner, addresses.error().message, OneTlsRpt(owner, fetched.records));
    return;
  }
  // One record puts all of them right, and goes with the first: there may be thousands.
  std::vector<std::string> mended = OneTlsRpt(owner, fetched.records);
  for (const std::string& address : *addresses) {
    if (const auto uri = ParseReportUri(address, false); !uri)
      report.Add(kinds::kTlsRptAddress, owner, "rua=: " + uri.error().message, std::exchange(mended, {}));
  }
}

void CheckTransport(const std::string& domain, bool takes_mail, Dns& dns, Report& report) {
  CheckMtaSts(domain, takes_mail, dns, report);
  CheckTlsRpt(domain, takes_mail, dns, report);
}

}  // namespace hallmark::posture
