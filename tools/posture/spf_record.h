#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::posture {

enum class SpfMechanism : std::uint8_t { kAll, kInclude, kA, kMx, kPtr, kIp4, kIp6, kExists };

// A mechanism with its qualifier (RFC 7208 section 4.6.1).
struct SpfTerm {
  SpfMechanism mechanism = SpfMechanism::kAll;
  char qualifier = '+';     // + - ~ ?
  std::string domain_spec;  // with its macros; empty where it is left out, which means the domain itself
  std::string address;      // ip4, ip6
  unsigned ip4_prefix = 32;
  unsigned ip6_prefix = 128;
  std::string text;  // as it is written
};

// An SPF record (RFC 7208 section 12), taken apart.
struct SpfRecord {
  std::vector<SpfTerm> terms;           // in their order
  std::optional<std::string> redirect;  // domain-spec
  std::optional<std::string> exp;       // domain-spec
  std::vector<std::string> unknown;     // modifiers that are not defined, as they are written
  std::vector<std::string> after_all;   // terms behind `all`, as they are written; among `terms` too

  // The all that counts: the first one. Null when there is none.
  const SpfTerm* All() const;
  // Whether there is a mechanism that lets somebody pass, or a redirect that may lead to one.
  bool LetsIn() const;
  // Whether a modifier that is not defined may be meant to let somebody pass: one with the name of a mechanism
  // ("ip4=..."), or any where neither all nor redirect ends the record, as a redirect with a spelling mistake would.
  bool MayMeanToLetIn() const;
};

// The record again: its mechanisms in their order, then its modifiers.
std::string SpfText(const SpfRecord& record);

// The terms but all, as they are written, of a record that is to have another all: those before the first one, and
// those behind it where it lets everybody pass, for whoever they name passes today.
std::vector<std::string> SpfTermsToKeep(const SpfRecord& record);

// The record without the mechanism that is written as `left_out`.
SpfRecord SpfWithout(SpfRecord record, std::string_view left_out);

// Whether a TXT record is an SPF record: begins with "v=spf1", then a blank or the end (RFC 7208 section 4.5).
bool IsSpf(std::string_view text);

// kInvalidArgument names the term that is wrong. `text` is one for which IsSpf holds.
Result<SpfRecord> ParseSpf(std::string_view text);

// A domain-spec with its macros replaced, where `domain` alone decides them (%{d}; RFC 7208 section 7). nullopt when it
// needs the message: %{i}, %{s} and the others. `spec` is one that ParseSpf took.
std::optional<std::string> ExpandForDomain(std::string_view spec, const std::string& domain);

}  // namespace hallmark::posture
