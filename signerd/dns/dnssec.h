#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "signerd/dns/ldns_handles.h"
#include "signerd/dns/lookup.h"

namespace hallmark::dns {

// Validation of DNSSEC (RFC 4035), with ldns' signatures, from configured trust anchors down.

// The DS or DNSKEY records of `content`, one a line as in a zone file; lines that start with ';' or '#' say nothing.
// kConfigInvalid: anything else, or none at all.
Result<Records> ParseTrustAnchors(std::string_view content);
// As ParseTrustAnchors, of a file; the error begins with its name.
Result<Records> ReadTrustAnchors(const std::filesystem::path& file);

// Whether the records of a zone can be validated.
struct ZoneTrust {
  enum class State {
    kUnsigned,  // no anchor is above it, or a parent that is validated proves that it is not signed
    kSigned,    // `keys` are validated
    kBroken,    // it should be signed, but the chain of trust to it does not hold
  };
  State state = State::kUnsigned;
  Records keys;
  std::string why;  // with kBroken, for people
};

// Walks the chain of trust to the zone of `apex`: at each name below the anchor a DS record, or the proof by NSEC or
// NSEC3 that there is none. kDnsUnavailable: the resolver does not answer. `lookup` has to ask for signatures.
Result<ZoneTrust> FindTrust(Lookup& lookup, const ldns_rr_list* anchors, const ldns_rdf* apex,
                            std::chrono::sys_seconds now);

// Whether the record set of `owner` and `type` in `section` has a signature of the zone `apex` that one of `keys` made
// and that is valid now. Empty, or what is wrong. Pure: any thread.
std::string CheckSignature(const ldns_rr_list* section, const ldns_rdf* owner, ldns_rr_type type, const ldns_rdf* apex,
                           const ldns_rr_list* keys, std::chrono::sys_seconds now);

}  // namespace hallmark::dns
