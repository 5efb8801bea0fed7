#include "tools/posture/bimi.h"

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/tag_list.h"
#include "signerd/snapshot/organizational_domain.h"
#include "tools/posture/kinds.h"
#include "tools/posture/report_uri.h"

namespace hallmark::posture {
namespace {

// The published DMARC record, made strong enough. Where there is none, it begins with p=none and reports.
std::vector<std::string> StrongEnough(const FoundDmarc& dmarc) {
  if (dmarc.state != FoundDmarc::State::kFound) return {};
  const DmarcRecord& record = dmarc.record;
  std::vector<TagChange> changes;
  if (record.policy == DmarcPolicy::kNone) changes.push_back({"p", DmarcPolicyName(DmarcPolicy::kQuarantine)});
  if (record.subdomain_policy == DmarcPolicy::kNone) changes.push_back({"sp", ""});
  if (record.percent < 100) changes.push_back({"pct", ""});
  if (record.testing) changes.push_back({"t", ""});
  return {TxtLine(dmarc.owner, WithTags(record, changes))};
}

// Whether DMARC is strong enough for a mark to be shown.
void CheckStrength(const std::string& owner, const FoundDmarc& dmarc, Report& report) {
  if (dmarc.state == FoundDmarc::State::kUnavailable) return;  // reported where it was asked
  std::string what;
  if (dmarc.state != FoundDmarc::State::kFound) {
    what = "there is no DMARC policy";
  } else if (dmarc.Policy() == DmarcPolicy::kNone) {
    what = "DMARC says none";
  } else if (dmarc.record.percent < 100) {
    what = "DMARC says pct=" + std::to_string(dmarc.record.percent);
  } else if (dmarc.record.testing) {
    what = "DMARC says t=y";
  } else if (dmarc.record.policy == DmarcPolicy::kNone || dmarc.record.ForSubdomains() == DmarcPolicy::kNone) {
    what = "DMARC says none for a part of the organization's domains";
  } else {
    return;
  }
  report.Add(kinds::kBimiDmarcTooWeak, owner, what, StrongEnough(dmarc));
}

}  // namespace

std::string FaultOfReference(const std::string& reference, std::string_view extension) {
  if (reference.find_first_of("!,;") != std::string::npos)
    return Quoted(reference) + " has characters that must be written as %21, %2C or %3B";
  const auto uri = ParseReportUri(reference, false);
  if (!uri || uri->mailto) return Quoted(reference) + " is no https:// address";
  const std::string path = dkim::ToLower(reference.substr(0, reference.find_first_of("?#")));
  if (!path.ends_with(extension)) return Quoted(reference) + " does not end with " + std::string(extension);
  return "";
}

bool IsBimi(std::string_view text) { return HasVersion(text, "BIMI1"); }

Result<BimiRecord> ParseBimi(std::string_view text) {
  const auto tags = dkim::TagList::Parse(text);
  if (!tags) return tags.error();
  if (!IsBimi(text)) return MakeError(Reason::kInvalidArgument, "v=BIMI1 is not the first tag");
  if (tags->Find("l") == nullptr) return MakeError(Reason::kInvalidArgument, "l= is missing");
  return BimiRecord{std::string(tags->Value("l")), std::string(tags->Value("a"))};
}

void CheckBimiRecord(const std::string& owner, const std::string& text, const FoundDmarc& dmarc, Report& report) {
  const auto record = ParseBimi(text);
  if (!record) {
    report.Add(kinds::kBimiSyntax, owner, record.error().message);
    return;
  }
  if (record->svg.empty() && record->certificate.empty()) {
    report.Add(kinds::kBimiDeclined, owner, "l= and a= are empty");
    return;
  }
  const std::string svg = FaultOfReference(record->svg, ".svg");
  if (!svg.empty()) report.Add(kinds::kBimiSvgReference, owner, "l=: " + svg);
  if (record->certificate.empty()) {
    report.Add(kinds::kBimiCertificateMissing, owner, "a= is missing or empty");
  } else if (const std::string fault = FaultOfReference(record->certificate, ".pem"); !fault.empty()) {
    report.Add(kinds::kBimiCertificateReference, owner, "a=: " + fault);
  }
  CheckStrength(owner, dmarc, report);
  report.Add(kinds::kBimiNotFetched, owner, "the files that the record names were not fetched");
}

void CheckBimi(const std::string& domain, const FoundDmarc& dmarc, Dns& dns, Report& report) {
  std::string owner = "default._bimi." + domain;
  Fetched fetched = dns.FetchTxt(owner, &IsBimi);
  const std::string organization(snapshot::OrganizationalDomain(domain));
  if (fetched.state == Fetched::State::kNone && !organization.empty() && organization != domain) {
    Fetched above = dns.FetchTxt("default._bimi." + organization, &IsBimi);
    if (above.state != Fetched::State::kNone) {
      fetched = std::move(above);
      owner = "default._bimi." + organization;
    }
  }
  switch (fetched.state) {
    case Fetched::State::kUnavailable: break;
    case Fetched::State::kNone:
      if (!fetched.aliased_nowhere)
        report.Add(kinds::kBimiMissing, owner, "there is no BIMI record at " + owner + Instead(fetched));
      break;
    case Fetched::State::kOne: CheckBimiRecord(owner, fetched.records.front(), dmarc, report); break;
    case Fetched::State::kSeveral:
      report.Add(kinds::kBimiSeveralRecords, owner,
                 "there are " + std::to_string(fetched.records.size()) + " BIMI records at " + owner);
      break;
  }
}

}  // namespace hallmark::posture
