#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/posture/dmarc_record.h"
#include "tools/posture/lookup.h"

namespace hallmark::posture {

// Where the policy for a domain is, and what it says (RFC 7489 section 6.6.3).
struct FoundDmarc {
  enum class State : std::uint8_t { kNone, kFound, kBroken, kUnavailable };
  State state = State::kNone;
  std::string owner;       // _dmarc.example.com: where the record is, or belongs
  bool inherited = false;  // it is the organizational domain's
  std::string fault;       // kBroken: a sentence without its full stop
  DmarcRecord record;      // kFound

  // What is done with mail of the domain that fails.
  DmarcPolicy Policy() const { return inherited ? record.ForSubdomains() : record.policy; }
};

// Looks for the record of `domain`, then of its organizational domain, and reports what is wrong with finding it.
FoundDmarc FindDmarc(const std::string& domain, Dns& dns, Report& report);

// What the record says. `misaligned`: partners whose policy allows a From domain other than the signing domain.
void CheckDmarc(const std::string& domain, const FoundDmarc& found, const std::vector<std::string>& misaligned,
                Dns& dns, Report& report);

// Whether the domain of a report address has to say that it wants reports about `domain` (RFC 7489 section 7.1).
bool IsExternal(const std::string& destination, const std::string& domain);
// Where it says so: "example.com._report._dmarc.example.net".
std::string AuthorisationName(const std::string& destination, const std::string& domain);

}  // namespace hallmark::posture
