#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "signerd/dns/lookup.h"

namespace hallmark::dns {

// Asks one question; gives an answer with code NOERROR or NXDOMAIN, or why there is none.
using Ask = std::function<Result<Packet>(const ldns_rdf* name, ldns_rr_type type)>;

// The apex of the zone that holds `name`: asks for SOA, walking up from the name. An error of `ask` ends it;
// kDnsUnavailable where even the root has none.
Result<Rdf> FindZone(const ldns_rdf* name, const Ask& ask);

// How long "there is none" is kept, by a SOA record of the zone (RFC 2308 section 5).
std::chrono::seconds NegativeTtl(const ldns_rr* soa);

// Who serves a zone.
struct Authority {
  struct Address {
    std::string server;  // "ns1.example.net."
    Nameserver at;
  };
  struct Nowhere {
    std::string server;
    std::string why;
  };
  Rdf apex;
  std::vector<Address> addresses;        // none twice
  std::vector<Nowhere> without_address;  // servers that have none, or none that this host has a route for
};

// Finds the zone of `name`, its servers and their addresses. kDnsUnavailable: the resolver does not say, or names more
// servers than anybody has.
Result<Authority> FindAuthority(Lookup& lookup, const ldns_rdf* name, std::uint16_t port);

}  // namespace hallmark::dns
