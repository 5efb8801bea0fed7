#include "tools/posture/posture.h"

#include <algorithm>

#include "tools/posture/bimi.h"
#include "tools/posture/dmarc.h"
#include "tools/posture/kinds.h"
#include "tools/posture/spf.h"
#include "tools/posture/transport.h"

namespace hallmark::posture {
namespace {

constexpr std::size_t kMostFailures = 8;  // more than a domain has names that can fail by themselves

// Whether the domain takes mail, as far as its MX says. Without one it does at its own address (RFC 5321 section 5.1).
bool TakesMail(const std::string& domain, Dns& dns, Report& report) {
  const auto mx = dns.Find(domain, dns::RecordType::kMx);
  if (!mx || !mx->values.empty()) {
    const bool null =
        mx && std::all_of(mx->values.begin(), mx->values.end(), [](const std::string& host) { return host.empty(); });
    if (null) report.Add(kinds::kNullMx, domain, domain + " has a null MX");
    return !null;
  }
  return dns.HasAddress(domain).value_or(true);
}

}  // namespace

void CheckDomain(const Subject& subject, const Lookup& lookup, Report& report) {
  const Lookup remembering = Remembering(GivingUp(lookup, kMostFailures));
  Dns dns(remembering, report);
  const std::string& domain = subject.domain;
  const auto answer = dns.Find(domain, dns::RecordType::kTxt);
  if (answer && !answer->exists && answer->alias.empty()) {  // then nothing below it exists either (RFC 8020)
    report.Add(kinds::kDomainNotFound, domain, domain + " does not exist (NXDOMAIN)");
    return;
  }
  CheckDkim(domain, subject.selectors, subject.auid, dns, report);
  CheckSpf(domain, dns, report);
  const FoundDmarc dmarc = FindDmarc(domain, dns, report);
  CheckDmarc(domain, dmarc, subject.misaligned, dns, report);
  CheckBimi(domain, dmarc, dns, report);
  CheckTransport(domain, TakesMail(domain, dns, report), dns, report);
}

}  // namespace hallmark::posture
