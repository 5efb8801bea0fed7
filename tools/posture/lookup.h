#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "signerd/dns/resolver.h"
#include "tools/posture/finding.h"

namespace hallmark::posture {

// Asks the DNS as dns::Resolver::Lookup does; the checks ask for the same name and type again and again.
using Lookup = std::function<Result<dns::Answer>(const std::string& name, dns::RecordType type)>;

// `lookup` with a memory: each question is asked once. Keeps failures too, so that a silent server is waited for once.
Lookup Remembering(Lookup lookup);

// `lookup` that asks no more once `limit` questions got no answer: a silent server, or one who wants to hold the caller
// up, costs as many time-outs and no more. What is not asked is kIoFailed too, and says so.
Lookup GivingUp(Lookup lookup, std::size_t limit);

// One of the records that are found by their version: v=spf1, v=DMARC1 ...
struct Fetched {
  enum class State : std::uint8_t { kNone, kOne, kSeveral, kUnavailable };
  State state = State::kNone;
  std::vector<std::string> records;  // those of the version
  std::string instead;               // where there are none: another TXT record at the name, if any
  bool aliased_nowhere = false;      // kNone, because a CNAME leads to no name
  bool below_dname = false;          // a DNAME stands above the name
  bool exists = true;                // the name does
};

// Asks, and reports what could not be had.
class Dns {
 public:
  Dns(const Lookup& lookup, Report& report) : lookup_(lookup), report_(report) {}

  // nullopt, with DNS_NO_ANSWER in the report, when there was no usable answer. What is no domain name does not exist.
  std::optional<dns::Answer> Find(const std::string& name, dns::RecordType type);
  // The TXT records that `of_version` takes. Reports DNS_NO_ANSWER and ALIAS_BROKEN, but not where the alias is made of
  // a DNAME: that makes one of every name, and promises nothing of this one.
  Fetched FetchTxt(const std::string& name, bool (*of_version)(std::string_view));
  // Whether the name has an address, IPv4 or IPv6; nullopt as above.
  std::optional<bool> HasAddress(const std::string& name);

 private:
  const Lookup& lookup_;
  Report& report_;
};

// "; found instead: ..." for the sentence that says that a record is missing.
std::string Instead(const Fetched& fetched);

// Whether `text` begins with the tag v= of this version: "v=DMARC1", then ";" or the end; blanks may stand around "="
// and before the ";", and none in front.
bool HasVersion(std::string_view text, std::string_view version);

}  // namespace hallmark::posture
