#include "tools/posture/dmarc.h"

#include <utility>

#include "signerd/snapshot/organizational_domain.h"
#include "tools/posture/kinds.h"
#include "tools/posture/report_uri.h"

namespace hallmark::posture {
namespace {

constexpr std::size_t kServedAddresses = 2;  // RFC 7489 section 6.2
constexpr std::string_view kLabel = "_dmarc.";

std::string Organization(const std::string& domain) { return std::string(snapshot::OrganizationalDomain(domain)); }

// What cannot be read, or is no tag. Both are as good as not there, so the record without them says the same: one for
// all of a kind, which goes with the first.
void CheckTags(const FoundDmarc& found, Report& report) {
  const auto report_all = [&](const Kind& kind, const std::vector<std::string>& tags, const std::string& what) {
    std::vector<TagChange> changes;
    for (const std::string& tag : tags) changes.push_back({std::string_view(tag).substr(0, tag.find('=')), ""});
    std::vector<std::string> mended{TxtLine(found.owner, WithTags(found.record, changes))};
    for (const std::string& tag : tags) report.Add(kind, found.owner, Quoted(tag) + what, std::exchange(mended, {}));
  };
  report_all(kinds::kDmarcBadValue, found.record.bad_values, " cannot be read");
  report_all(kinds::kDmarcUnknownTag, found.record.unknown_tags, " is no tag of DMARC");
}

// The tags that weaken what p= says.
void CheckStrength(const FoundDmarc& found, Report& report) {
  const DmarcRecord& record = found.record;
  const std::string policy = std::string(DmarcPolicyName(record.policy));
  if (found.Policy() == DmarcPolicy::kNone) {
    const char* tag = found.inherited && record.subdomain_policy ? "sp" : "p";
    report.Add(kinds::kDmarcPolicyNone, found.owner, std::string(tag) + "=none asks for nothing",
               {TxtLine(found.owner, WithTag(record, tag, "quarantine"))});
  }
  if (record.policy != DmarcPolicy::kNone) {
    if (!found.inherited && record.subdomain_policy == DmarcPolicy::kNone)
      report.Add(kinds::kDmarcSubdomainNone, found.owner, "sp=none undoes p=" + policy + " for subdomains",
                 {TxtLine(found.owner, WithTag(record, "sp", ""))});
    if (record.nonexistent_policy == DmarcPolicy::kNone)
      report.Add(kinds::kDmarcSubdomainNone, found.owner,
                 "np=none undoes p=" + policy + " for subdomains that do not exist",
                 {TxtLine(found.owner, WithTag(record, "np", ""))});
    if (record.percent < 100)
      report.Add(kinds::kDmarcPartial, found.owner, "pct=" + std::to_string(record.percent),
                 {TxtLine(found.owner, WithTag(record, "pct", ""))});
    if (record.testing)
      report.Add(kinds::kDmarcPartial, found.owner, "t=y", {TxtLine(found.owner, WithTag(record, "t", ""))});
  }
}

void CheckAlignment(const FoundDmarc& found, const std::vector<std::string>& misaligned, Report& report) {
  const DmarcRecord& record = found.record;
  if (record.strict_dkim) report.Add(kinds::kDmarcStrictAlignment, found.owner, "adkim=s");
  if (record.strict_spf) report.Add(kinds::kDmarcStrictAlignment, found.owner, "aspf=s");
  if (!record.strict_dkim || misaligned.empty()) return;
  std::string names;
  for (const std::string& name : misaligned) names += (names.empty() ? "" : ", ") + name;
  report.Add(kinds::kDmarcAlignmentConflict, found.owner,
             "adkim=s, but these partners may send with another From domain: " + names,
             {TxtLine(found.owner, WithTag(record, "adkim", "r"))});
}

void CheckAuthorisation(const std::string& domain, const ReportUri& uri, Dns& dns, Report& report) {
  if (!IsExternal(uri.domain, domain)) return;
  const std::string name = AuthorisationName(uri.domain, domain);
  const Fetched fetched = dns.FetchTxt(name, &IsDmarc);
  if (fetched.state != Fetched::State::kNone) return;
  report.Add(kinds::kDmarcReportNotAuthorised, name,
             uri.domain + " does not say that it takes reports about " + domain + Instead(fetched),
             {TxtLine(name, "v=DMARC1")});
}

void CheckAddresses(const std::string& domain, const FoundDmarc& found, const std::vector<std::string>& uris,
                    const std::string& tag, Dns& dns, Report& report) {
  for (const std::string& text : uris) {
    const auto uri = ParseReportUri(text, true);
    if (!uri) {
      report.Add(kinds::kDmarcReportAddress, found.owner, tag + "=: " + uri.error().message);
    } else if (!uri->mailto) {
      report.Add(kinds::kDmarcReportAddress, found.owner,
                 tag + "=: the address " + Quoted(uri->text) + " is no mailto: address; no other kind is defined");
    } else {
      CheckAuthorisation(domain, *uri, dns, report);
    }
  }
  if (uris.size() > kServedAddresses)
    report.Add(kinds::kDmarcManyAddresses, found.owner, tag + "= has " + std::to_string(uris.size()) + " addresses");
}

}  // namespace

bool IsExternal(const std::string& destination, const std::string& domain) {
  const std::string organization = Organization(destination);
  return organization.empty() || organization != Organization(domain);
}

std::string AuthorisationName(const std::string& destination, const std::string& domain) {
  return domain + "._report._dmarc." + destination;
}

FoundDmarc FindDmarc(const std::string& domain, Dns& dns, Report& report) {
  FoundDmarc found;
  found.owner = "_dmarc." + domain;
  Fetched fetched = dns.FetchTxt(found.owner, &IsDmarc);
  const std::string organization = Organization(domain);
  const std::string instead = Instead(fetched);
  if (fetched.state == Fetched::State::kNone && !organization.empty() && organization != domain) {
    fetched = dns.FetchTxt("_dmarc." + organization, &IsDmarc);
    found.inherited = fetched.state != Fetched::State::kNone;
    if (found.inherited) found.owner = "_dmarc." + organization;
  }
  if (fetched.state == Fetched::State::kUnavailable) {
    found.state = FoundDmarc::State::kUnavailable;
  } else if (fetched.state == Fetched::State::kNone) {
    if (!fetched.aliased_nowhere)
      report.Add(kinds::kDmarcMissing, found.owner, "there is no DMARC record at " + found.owner + instead,
                 {TxtLine(found.owner, "v=DMARC1; p=none; rua=mailto:dmarc-reports@" + domain)});
  } else if (fetched.state == Fetched::State::kSeveral) {
    found.state = FoundDmarc::State::kBroken;
    found.fault = "there are " + std::to_string(fetched.records.size()) + " DMARC records at " + found.owner;
    report.Add(kinds::kDmarcSeveralRecords, found.owner, found.fault);
  } else if (auto record = ParseDmarc(fetched.records.front()); !record) {
    found.state = FoundDmarc::State::kBroken;
    found.fault = record.error().message;
    report.Add(kinds::kDmarcSyntax, found.owner, found.fault);
  } else {
    found.state = FoundDmarc::State::kFound;
    found.record = std::move(*record);
  }
  return found;
}

void CheckDmarc(const std::string& domain, const FoundDmarc& found, const std::vector<std::string>& misaligned,
                Dns& dns, Report& report) {
  if (found.state != FoundDmarc::State::kFound) return;
  const DmarcRecord& record = found.record;
  if (found.inherited) report.Add(kinds::kDmarcInherited, found.owner, domain + " has no DMARC record of its own");
  CheckTags(found, report);
  CheckStrength(found, report);
  CheckAlignment(found, misaligned, report);
  // The domain whose record it is: the one that receivers ask other organisations about.
  const std::string at = found.owner.substr(kLabel.size());
  if (record.aggregate.empty())
    report.Add(kinds::kDmarcNoReports, found.owner,
               "the record has no rua=", {TxtLine(found.owner, WithTag(record, "rua", "mailto:dmarc-reports@" + at))});
  CheckAddresses(at, found, record.aggregate, "rua", dns, report);
  CheckAddresses(at, found, record.failure, "ruf", dns, report);
}

}  // namespace hallmark::posture
