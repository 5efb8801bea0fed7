#pragma once

#include <string>
#include <vector>

#include "tools/posture/lookup.h"

namespace hallmark::posture {

struct SuggestRequest {
  std::string domain;                       // lower-case A-label
  std::vector<std::string> key_records;     // zone-file lines of the keys
  std::vector<std::string> kept_elsewhere;  // ... and those that belong into a zone that the domain delegates to
  std::string report_address;               // a mail address; empty: what is published, else dmarc-reports@DOMAIN
  std::vector<std::string> relays;          // addresses or networks that mail leaves from
  std::vector<std::string> mx;              // hosts that take mail for the domain; empty: those of its MX records
  std::string bimi_svg, bimi_certificate;   // https:// addresses; the first empty: no BIMI but what is published
  std::string policy_id;                    // id= of a new MTA-STS policy: letters and digits
};

// A part of the zone file: what is to be said, then the records.
struct Section {
  std::string title;                  // "SPF"
  std::vector<std::string> comments;  // a sentence or a line of a file each
  std::vector<std::string> records;   // zone-file lines
  std::vector<std::string> later;     // zone-file lines that would be in error today: to be written as comments
};

// The records that the domain should have, never weaker than what it has: what is published and good is kept, what is
// missing is added with defaults that break nothing; a DMARC record that is in error is told and not replaced.
// kInvalidArgument: an address, URL or host that is none. kIoFailed: what is published cannot be seen, so that nothing
// can be said.
Result<std::vector<Section>> Suggest(const SuggestRequest& request, const Lookup& lookup);

}  // namespace hallmark::posture
