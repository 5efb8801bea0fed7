#pragma once

#include <string>
#include <vector>

#include "tools/posture/dkim.h"
#include "tools/posture/finding.h"
#include "tools/posture/lookup.h"

namespace hallmark::posture {

// What is known of a domain beside the DNS.
struct Subject {
  std::string domain;  // lower-case A-label
  std::vector<Selector> selectors;
  std::string auid;                     // i= of its signing profile, or empty
  std::vector<std::string> misaligned;  // partners that may send with a From domain other than the signing domain
};

// Judges everything that is published for the domain: DKIM, SPF, DMARC, BIMI, MTA-STS, TLS-RPT. What the caller has
// found already goes on in `report`. Asks as often as it needs; bounded whatever the answers are.
void CheckDomain(const Subject& subject, const Lookup& lookup, Report& report);

}  // namespace hallmark::posture
