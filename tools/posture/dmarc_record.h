#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::posture {

// In order of strength.
enum class DmarcPolicy : std::uint8_t { kNone, kQuarantine, kReject };
std::string_view DmarcPolicyName(DmarcPolicy policy);

// A DMARC record (RFC 7489 section 6.3; np: RFC 9091), taken apart. What cannot be read has its default.
struct DmarcRecord {
  DmarcPolicy policy = DmarcPolicy::kNone;
  std::optional<DmarcPolicy> subdomain_policy, nonexistent_policy;  // sp=, np=
  unsigned percent = 100;
  bool testing = false;  // t=y of its successor: the policy is not to be applied
  bool strict_dkim = false, strict_spf = false;
  std::vector<std::string> aggregate, failure;            // rua=, ruf=: the URIs as they are written
  std::vector<std::string> bad_values;                    // "pct=all"
  std::vector<std::string> unknown_tags;                  // names
  std::vector<std::pair<std::string, std::string>> tags;  // all, in their order

  DmarcPolicy ForSubdomains() const { return subdomain_policy.value_or(policy); }
};

bool IsDmarc(std::string_view text);

// kInvalidArgument: no tag list, v= not first, or p= or sp= is missing or unknown: then there is no policy.
Result<DmarcRecord> ParseDmarc(std::string_view text);

// What a tag is to have; an empty value takes it away.
struct TagChange {
  std::string_view name, value;
};
// The record with tags changed, or added at its end.
std::string WithTags(const DmarcRecord& record, const std::vector<TagChange>& changes);
std::string WithTag(const DmarcRecord& record, std::string_view name, std::string_view value);

}  // namespace hallmark::posture
