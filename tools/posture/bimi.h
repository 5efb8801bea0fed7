#pragma once

#include <string>
#include <string_view>

#include "tools/posture/dmarc.h"
#include "tools/posture/lookup.h"

namespace hallmark::posture {

// A BIMI assertion record, taken apart.
struct BimiRecord {
  std::string svg;          // l=
  std::string certificate;  // a=
};

bool IsBimi(std::string_view text);
// kInvalidArgument: no tag list, or there is no l=.
Result<BimiRecord> ParseBimi(std::string_view text);

// What is wrong with a reference to a file; empty when nothing is. `extension`: ".svg", ".pem".
std::string FaultOfReference(const std::string& reference, std::string_view extension);

// What the record `text` at `owner` says, and whether DMARC is strong enough for it.
void CheckBimiRecord(const std::string& owner, const std::string& text, const FoundDmarc& dmarc, Report& report);

// The record at default._bimi, and whether DMARC is strong enough for it. Nothing is fetched.
void CheckBimi(const std::string& domain, const FoundDmarc& dmarc, Dns& dns, Report& report);

}  // namespace hallmark::posture
