#include "tools/posture/transport.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/tag_list.h"
#include "tools/posture/kinds.h"
#include "tools/posture/report_uri.h"

namespace hallmark::posture {
namespace {

constexpr std::size_t kLongestId = 32;

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
               "there are " + std::to_string(fetched.records.size()) + " MTA-STS records at " + owner);
    return;
  }
  if (const auto id = ParseMtaSts(fetched.records.front()); !id) {
    report.Add(kinds::kMtaStsSyntax, owner, id.error().message);
    return;
  }
  const std::string host = "mta-sts." + domain;
  if (const auto address = dns.HasAddress(host); address && !*address)
    report.Add(kinds::kMtaStsHostMissing, host, host + " has no address");
  report.Add(kinds::kMtaStsNotFetched, owner, "the policy at https://" + host + " was not fetched");
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
               "there are " + std::to_string(fetched.records.size()) + " TLS-RPT records at " + owner);
    return;
  }
  const auto addresses = ParseTlsRpt(fetched.records.front());
  if (!addresses) {
    report.Add(kinds::kTlsRptSyntax, owner, addresses.error().message);
    return;
  }
  for (const std::string& address : *addresses) {
    if (const auto uri = ParseReportUri(address, false); !uri)
      report.Add(kinds::kTlsRptAddress, owner, "rua=: " + uri.error().message);
  }
}

}  // namespace

bool IsMtaSts(std::string_view text) { return HasVersion(text, "STSv1"); }

Result<std::string> ParseMtaSts(std::string_view text) {
  const auto tags = dkim::TagList::Parse(text);
  if (!tags) return tags.error();
  if (!IsMtaSts(text)) return MakeError(Reason::kInvalidArgument, "v=STSv1 is not the first tag");
  const std::string_view id = tags->Value("id");
  if (id.empty() || id.size() > kLongestId ||
      !std::all_of(id.begin(), id.end(), [](char c) { return dkim::IsAlpha(c) || dkim::IsDigit(c); }))
    return MakeError(Reason::kInvalidArgument, "id= is not 1 to 32 letters and digits");
  return std::string(id);
}

bool IsTlsRpt(std::string_view text) { return HasVersion(text, "TLSRPTv1"); }

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

void CheckTransport(const std::string& domain, bool takes_mail, Dns& dns, Report& report) {
  CheckMtaSts(domain, takes_mail, dns, report);
  CheckTlsRpt(domain, takes_mail, dns, report);
}

}  // namespace hallmark::posture
