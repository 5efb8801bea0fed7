#include "tools/posture/suggest.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/author.h"
#include "tools/posture/bimi.h"
#include "tools/posture/dmarc.h"
#include "tools/posture/kinds.h"
#include "tools/posture/report_uri.h"
#include "tools/posture/spf_record.h"
#include "tools/posture/spf_walk.h"
#include "tools/posture/transport.h"

namespace hallmark::posture {
namespace {

// What the parts share.
struct Making {
  const SuggestRequest& request;
  const Lookup& lookup;         // what `dns` asks by
  Dns& dns;                     // what it gets no answer for ends it all
  std::vector<std::string> mx;  // of the request or published; none: the domain takes no mail that it says of
};

bool Has(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::string RelayTerm(const std::string& relay) {
  return (relay.find(':') == std::string::npos ? "ip4:" : "ip6:") + relay;
}

// The terms of what is published, and how it ends.
struct PublishedSpf {
  std::vector<std::string> terms;
  std::string end = "~all";
  bool unreadable = false;  // who else was to pass is not known
  bool may_lack = false;    // a modifier that nobody knows may be meant to let somebody pass
};

void TellLeftOut(const SpfRecord& record, const std::vector<std::string>& kept, Section& section) {
  for (const std::string& term : record.after_all) {
    if (!Has(kept, term))
      section.comments.push_back(term + " stands behind " + record.All()->text +
                                 ", where nobody looks at it, and is left out.");
  }
  for (const std::string& modifier : record.unknown)
    section.comments.push_back(modifier + " is no modifier of SPF, and is left out.");
}

PublishedSpf ReadSpf(const Fetched& fetched, Section& section) {
  PublishedSpf published;
  for (const std::string& text : fetched.records) {
    const auto record = ParseSpf(text);
    if (!record) {
      section.comments.push_back("A published record cannot be read, because " + record.error().message + ".");
      published.unreadable = true;
      continue;
    }
    const std::vector<std::string> kept = SpfTermsToKeep(*record);
    for (const std::string& term : kept) {
      if (!Has(published.terms, term)) published.terms.push_back(term);
    }
    const SpfTerm* all = record->All();
    TellLeftOut(*record, kept, section);
    published.may_lack = published.may_lack || record->MayMeanToLetIn();
    if (all != nullptr && all->qualifier == '-') published.end = "-all";
    if (all == nullptr && record->redirect) {
      if (fetched.records.size() == 1) published.end = "redirect=" + *record->redirect;
      if (fetched.records.size() > 1) published.terms.push_back("include:" + *record->redirect);
    }
    if (record->exp) published.end += " exp=" + *record->exp;
  }
  // Several records together let in more hosts than any of them did: they must not refuse the others'.
  if (fetched.records.size() > 1) published.end = "~all";
  return published;
}

// Of what lets others pass.
void TellThirdParties(const SpfRecord& record, const std::string& domain, Section& section) {
  for (const SpfTerm& term : record.terms) {
    if (term.domain_spec.empty() || term.qualifier != '+') continue;
    const auto name = ExpandForDomain(term.domain_spec, domain);
    if (name && IsThirdParty(*name, domain))
      section.comments.push_back(term.text +
                                 " lets hosts of others pass. Have that partner relay through the signing point, "
                                 "then take it out.");
  }
}

// Whether this is what the domain says already, and all that it says.
bool IsPublished(const SpfRecord& record, const Fetched& fetched) {
  if (fetched.records.size() != 1) return false;
  const auto published = ParseSpf(fetched.records.front());
  return published && dkim::EqualsIgnoringCase(SpfText(*published), SpfText(record));
}

Section SuggestSpf(const Making& making) {
  Section section{"SPF", {}, {}, {}};
  const std::string& domain = making.request.domain;
  const Fetched fetched = making.dns.FetchTxt(domain, &IsSpf);
  PublishedSpf spf = ReadSpf(fetched, section);
  if (spf.unreadable) {
    section.comments.push_back("Put it right first. Until then no record is suggested: it would refuse who is meant.");
    return section;
  }
  // Without it, hosts that are let pass by no all, or by a receiver's goodwill, would be refused.
  if (spf.may_lack) {
    section.comments.push_back(
        "Put right first what it may have been meant to be, as ip4:ADDRESS or redirect=DOMAIN. "
        "Until then no record is suggested.");
    return section;
  }
  std::vector<std::string> relays;
  for (const std::string& relay : making.request.relays) {
    if (!Has(spf.terms, RelayTerm(relay))) relays.push_back(RelayTerm(relay));
  }
  spf.terms.insert(spf.terms.begin(), relays.begin(), relays.end());
  const bool guessed = spf.terms.empty() && fetched.records.empty() && !making.mx.empty();
  if (guessed) spf.terms.push_back("mx");
  std::string value = "v=spf1";
  for (const std::string& term : spf.terms) value += " " + term;
  value += " " + spf.end;
  const auto record = ParseSpf(value);
  // That nobody sends is for the domain to say, as v=spf1 -all does; it does not follow from who is not named.
  const bool refuses_all = !record || (!record->LetsIn() && !IsPublished(*record, fetched));
  if (guessed || refuses_all) section.comments.push_back("Name the addresses that mail leaves from with --relay.");
  if (refuses_all) {
    section.comments.push_back("Until then no record is suggested: it would let nobody send.");
    return section;
  }
  TellThirdParties(*record, domain, section);
  section.records.push_back(TxtLine(domain, value));
  return section;
}

std::string ReportUriOf(const SuggestRequest& request) {
  return "mailto:" + (request.report_address.empty() ? "dmarc-reports@" + request.domain : request.report_address);
}

// What other organisations have to publish so that they get the reports. Whether they do already only decides on a
// comment: a name server of theirs that does not answer keeps nothing back.
void AddAuthorisations(const Making& making, const std::string& value, Section& section) {
  const auto record = ParseDmarc(value);
  if (!record) return;
  Report unanswered;
  Dns dns(making.lookup, unanswered);
  for (const auto* list : {&record->aggregate, &record->failure}) {
    for (const std::string& text : *list) {
      const auto uri = ParseReportUri(text, true);
      if (!uri || !IsExternal(uri->domain, making.request.domain)) continue;
      const std::string name = AuthorisationName(uri->domain, making.request.domain);
      if (dns.FetchTxt(name, &IsDmarc).state == Fetched::State::kOne) continue;
      section.comments.push_back("Reports to " + uri->domain + " are only sent when that domain publishes:");
      section.later.push_back(TxtLine(name, "v=DMARC1"));
    }
  }
}

// The rua= of the record, with the address of the request at its end where it is not among them.
std::string ReportUris(const DmarcRecord& record, const SuggestRequest& request) {
  const std::string uri = ReportUriOf(request);
  std::string list;
  bool there = request.report_address.empty() && !record.aggregate.empty();
  for (const std::string& address : record.aggregate) {
    list += (list.empty() ? "" : ",") + address;
    const auto read = ParseReportUri(address, true);
    there = there || (read && read->text == uri);
  }
  return there ? list : list + (list.empty() ? "" : ",") + uri;
}

Section SuggestDmarc(const Making& making, const FoundDmarc& found) {
  Section section{"DMARC", {}, {}, {}};
  const std::string owner = "_dmarc." + making.request.domain;
  if (found.state == FoundDmarc::State::kFound && found.inherited) {
    section.comments.push_back("The record at " + found.owner +
                               " holds for this domain too; one of its own would take its place.");
    return section;
  }
  // Most receivers go by the policy that such a record was meant to have: p=none would take it away.
  if (found.state == FoundDmarc::State::kBroken) {
    section.comments.push_back("Put right what is published at " + found.owner + " first: " + found.fault +
                               ". Until then no record is suggested.");
    return section;
  }
  std::string value = "v=DMARC1; p=none; rua=" + ReportUriOf(making.request);
  if (found.state == FoundDmarc::State::kFound) {
    value = WithTag(found.record, "rua", ReportUris(found.record, making.request));
    section.comments.push_back("The policy is the published one.");
  } else {
    section.comments.push_back(
        "p=none asks for reports alone. Go on to p=quarantine, then p=reject, once the reports show "
        "that all own mail passes.");
  }
  section.records.push_back(TxtLine(owner, value));
  AddAuthorisations(making, value, section);
  return section;
}

// The record, as a comment where it would be in error today.
void AddBimi(const std::string& owner, const std::string& value, const FoundDmarc& dmarc, Section& section) {
  Report judged;
  CheckBimiRecord(owner, value, dmarc, judged);
  std::vector<std::string> faults;
  for (const Finding& finding : judged.findings()) {
    if (finding.kind->severity != Severity::kError) continue;
    const bool of_dmarc = finding.kind->id == kinds::kBimiDmarcTooWeak.id;
    faults.push_back((of_dmarc ? "To be published when DMARC is strong enough: " : "To be put right first: ") +
                     finding.what + ".");
  }
  (faults.empty() ? section.records : section.later).push_back(TxtLine(owner, value));
  section.comments.insert(section.comments.end(), faults.begin(), faults.end());
}

Section SuggestBimi(const Making& making, const FoundDmarc& dmarc) {
  Section section{"BIMI", {}, {}, {}};
  const SuggestRequest& request = making.request;
  const std::string owner = "default._bimi." + request.domain;
  const Fetched fetched = making.dns.FetchTxt(owner, &IsBimi);
  if (request.bimi_svg.empty()) {
    if (fetched.state == Fetched::State::kOne) AddBimi(owner, fetched.records.front(), dmarc, section);
    if (fetched.state == Fetched::State::kSeveral)
      section.comments.push_back("There are " + Count(fetched.records.size(), "BIMI record") + " at " + owner +
                                 ", so none is used: keep one.");
    return section;
  }
  std::string value = "v=BIMI1; l=" + request.bimi_svg + ";";
  if (!request.bimi_certificate.empty()) value += " a=" + request.bimi_certificate + ";";
  AddBimi(owner, value, dmarc, section);
  if (request.bimi_certificate.empty())
    section.comments.push_back("Large receivers show a mark only with a mark certificate (--bimi-cert).");
  return section;
}

Section SuggestMtaSts(const Making& making) {
  Section section{"MTA-STS", {}, {}, {}};
  const std::string& domain = making.request.domain;
  const std::string owner = "_mta-sts." + domain, host = "mta-sts." + domain;
  const Fetched fetched = making.dns.FetchTxt(owner, &IsMtaSts);
  const bool reachable = making.dns.HasAddress(host).value_or(false);
  if (fetched.state == Fetched::State::kOne && ParseMtaSts(fetched.records.front()) && reachable) {
    section.comments.push_back("Published already. Leave the mode of the policy at https://" + host +
                               " as it is; change id= with every change of the policy.");
    section.records.push_back(TxtLine(owner, fetched.records.front()));
    return section;
  }
  if (making.mx.empty()) {
    section.comments.push_back("The domain has no MX, so there is nothing to protect; name its hosts with --mx.");
    return section;
  }
  section.comments.push_back("The policy, at https://" + host + "/.well-known/mta-sts.txt (lines end with CRLF):");
  section.comments.push_back("  version: STSv1");
  section.comments.push_back("  mode: testing");
  for (const std::string& name : making.mx) section.comments.push_back("  mx: " + name);
  section.comments.push_back("  max_age: 86400");
  section.comments.push_back(
      "Go on to mode: enforce and max_age: 604800 once TLS-RPT reports no failures, with a new id=.");
  const std::string line = TxtLine(owner, "v=STSv1; id=" + making.request.policy_id + ";");
  if (reachable) {
    section.records.push_back(line);
  } else {
    section.comments.push_back("To be published when " + host + " has an address and serves the policy:");
    section.later.push_back(line);
  }
  return section;
}

Section SuggestTlsRpt(const Making& making) {
  Section section{"TLS-RPT", {}, {}, {}};
  const SuggestRequest& request = making.request;
  const std::string owner = "_smtp._tls." + request.domain;
  const Fetched fetched = making.dns.FetchTxt(owner, &IsTlsRpt);
  Report faults;
  Dns dns(making.lookup, faults);
  CheckTlsRpt(request.domain, false, dns, faults);
  if (fetched.state == Fetched::State::kOne && faults.findings().empty()) {
    section.records.push_back(TxtLine(owner, fetched.records.front()));
    return section;
  }
  for (const Finding& finding : faults.findings()) {
    section.comments.push_back("What is published is in error: " + finding.what + ".");
    section.records.insert(section.records.end(), finding.publish.begin(), finding.publish.end());
  }
  if (section.records.empty() && !making.mx.empty()) {
    const std::string address =
        request.report_address.empty() ? "tls-reports@" + request.domain : request.report_address;
    section.records.push_back(TxtLine(owner, "v=TLSRPTv1; rua=mailto:" + address));
  }
  return section;
}

Status CheckRequest(const SuggestRequest& request) {
  if (!request.report_address.empty()) {
    if (const auto uri = ParseReportUri("mailto:" + request.report_address, false); !uri) return uri.error();
  }
  for (const std::string& relay : request.relays) {
    if (const auto term = ParseSpf("v=spf1 " + RelayTerm(relay)); !term || term->terms.size() != 1)
      return MakeError(Reason::kInvalidArgument, Quoted(relay) + " is no address or network");
  }
  for (const std::string& host : request.mx) {
    if (const auto name = dkim::NormalizeDomain(host); !name) return name.error();
  }
  if (request.bimi_svg.empty() && !request.bimi_certificate.empty())
    return MakeError(Reason::kInvalidArgument, "a mark certificate needs the SVG that it is for");
  for (const auto& [reference, extension] :
       {std::pair<const std::string&, const char*>(request.bimi_svg, ".svg"),
        std::pair<const std::string&, const char*>(request.bimi_certificate, ".pem")}) {
    if (reference.empty()) continue;
    if (const std::string fault = FaultOfReference(reference, extension); !fault.empty())
      return MakeError(Reason::kInvalidArgument, fault);
  }
  return Ok();
}

}  // namespace

Result<std::vector<Section>> Suggest(const SuggestRequest& request, const Lookup& lookup) {
  if (const auto status = CheckRequest(request); !status) return status.error();
  Report report;
  const Lookup remembering = Remembering(lookup);
  Dns dns(remembering, report);
  Making making{request, remembering, dns, request.mx};
  if (making.mx.empty()) {
    if (const auto published = dns.Find(request.domain, dns::RecordType::kMx)) making.mx = published->values;
    std::erase(making.mx, "");  // the null MX
    std::sort(making.mx.begin(), making.mx.end());
  }
  Section keys{"DKIM", {}, request.key_records, request.kept_elsewhere};
  if (!request.kept_elsewhere.empty())
    keys.comments.push_back(
        "The records of these keys are kept in the zone that the aliases lead to; where a DNAME does, "
        "leave the aliases out:");
  const FoundDmarc dmarc = FindDmarc(request.domain, dns, report);
  std::vector<Section> sections{
      std::move(keys),       SuggestSpf(making),   SuggestDmarc(making, dmarc), SuggestBimi(making, dmarc),
      SuggestMtaSts(making), SuggestTlsRpt(making)};
  for (const Finding& finding : report.findings()) {
    if (finding.kind->id == kinds::kDnsNoAnswer.id)
      return MakeError(Reason::kIoFailed, finding.what + "; without it, what is published might be weakened");
  }
  return sections;
}

}  // namespace hallmark::posture
