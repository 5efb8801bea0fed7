#include "signerd/dns/zone.h"

#include <algorithm>

namespace hallmark::dns {
namespace {

constexpr std::size_t kMostServers = 32;    // of one zone; the root has 13
constexpr std::size_t kMostAddresses = 64;  // of all of them; the root has 26

bool HasAlias(const ldns_rr_list* answer) {
  for (std::size_t i = 0; i < ldns_rr_list_rr_count(answer); ++i) {
    const ldns_rr_type type = ldns_rr_get_type(ldns_rr_list_rr(answer, i));
    if (type == LDNS_RR_TYPE_CNAME || type == LDNS_RR_TYPE_DNAME) return true;
  }
  return false;
}

// The zone that an answer to "name SOA" shows: the name is its apex, or the denial comes from it.
Rdf ZoneShown(const ldns_pkt* answer, const ldns_rdf* name) {
  if (!Select(ldns_pkt_answer(answer), name, LDNS_RR_TYPE_SOA).empty()) return Rdf(ldns_rdf_clone(name));
  // Behind an alias the denial would be that of another zone.
  if (HasAlias(ldns_pkt_answer(answer))) return nullptr;
  const ldns_rr_list* authority = ldns_pkt_authority(answer);
  for (std::size_t i = 0; i < ldns_rr_list_rr_count(authority); ++i) {
    const ldns_rr* record = ldns_rr_list_rr(authority, i);
    if (ldns_rr_get_type(record) != LDNS_RR_TYPE_SOA) continue;
    if (ldns_dname_is_subdomain(name, ldns_rr_owner(record))) return Rdf(ldns_rdf_clone(ldns_rr_owner(record)));
  }
  return nullptr;
}

// Takes the addresses of one server that are in `answers` (A, AAAA); says why where there is none to ask.
std::string TakeAddresses(const std::string& server, std::span<const Result<Packet>> answers, std::uint16_t port,
                          std::vector<Authority::Address>& addresses) {
  std::string why = "has no address";
  bool any = false;
  for (const auto& answer : answers) {
    if (!answer) {
      why = answer.error().message;
      continue;
    }
    const ldns_rr_list* records = ldns_pkt_answer(answer->get());
    for (std::size_t i = 0; i < ldns_rr_list_rr_count(records) && addresses.size() <= kMostAddresses; ++i) {
      const ldns_rr* record = ldns_rr_list_rr(records, i);
      const ldns_rr_type type = ldns_rr_get_type(record);
      if ((type != LDNS_RR_TYPE_A && type != LDNS_RR_TYPE_AAAA) || !IsWhole(record)) continue;
      const LdnsText text(ldns_rdf2str(ldns_rr_rdf(record, 0)));
      const Nameserver at{text ? text.get() : "", port};
      if (!HasRoute(at)) {
        why = "this host has no route to " + at.address;
        continue;
      }
      any = true;
      const auto same = [&](const auto& other) { return other.at == at; };
      if (std::none_of(addresses.begin(), addresses.end(), same)) addresses.push_back({server, at});
    }
  }
  return any ? "" : why;
}

}  // namespace

Result<Rdf> FindZone(const ldns_rdf* name, const Ask& ask) {
  Rdf candidate(ldns_rdf_clone(name));
  while (candidate) {
    const auto answer = ask(candidate.get(), LDNS_RR_TYPE_SOA);
    if (!answer) return answer.error();
    if (Rdf zone = ZoneShown(answer->get(), candidate.get())) return zone;
    const bool root = ldns_dname_label_count(candidate.get()) == 0;
    candidate.reset(root ? nullptr : ldns_dname_left_chop(candidate.get()));
  }
  return MakeError(Reason::kDnsUnavailable, "no zone is found for " + NameText(name));
}

std::chrono::seconds NegativeTtl(const ldns_rr* soa) {
  constexpr std::size_t kMinimum = 6;  // of SOA's fields
  if (ldns_rr_rd_count(soa) <= kMinimum) return std::chrono::seconds(0);
  return std::chrono::seconds(std::min(TtlOf(soa), ldns_rdf2native_int32(ldns_rr_rdf(soa, kMinimum))));
}

Result<Authority> FindAuthority(Lookup& lookup, const ldns_rdf* name, std::uint16_t port) {
  auto apex = FindZone(name, [&](const ldns_rdf* at, ldns_rr_type type) { return lookup.Ask(at, type); });
  if (!apex) return apex.error();
  Authority authority{std::move(*apex), {}, {}};
  const auto answer = lookup.Ask(authority.apex.get(), LDNS_RR_TYPE_NS);
  if (!answer) return answer.error();
  const auto servers = Select(ldns_pkt_answer(answer->get()), authority.apex.get(), LDNS_RR_TYPE_NS);
  if (servers.empty() || servers.size() > kMostServers) {
    return MakeError(Reason::kDnsUnavailable, "the resolver names " + std::to_string(servers.size()) +
                                                  " name servers for " + NameText(authority.apex.get()));
  }
  std::vector<Lookup::Query> queries;
  for (const ldns_rr* server : servers) {
    queries.push_back({ldns_rr_rdf(server, 0), LDNS_RR_TYPE_A});
    queries.push_back({ldns_rr_rdf(server, 0), LDNS_RR_TYPE_AAAA});
  }
  const auto answers = lookup.AskAll(queries);
  for (std::size_t i = 0; i < answers.size(); i += 2) {
    const std::string server = NameText(queries[i].name);
    const std::string why = TakeAddresses(server, {&answers[i], 2}, port, authority.addresses);
    if (!why.empty()) authority.without_address.push_back({server, why});
  }
  if (authority.addresses.size() > kMostAddresses) {
    return MakeError(Reason::kDnsUnavailable, "the resolver names more than " + std::to_string(kMostAddresses) +
                                                  " addresses of name servers for " + NameText(authority.apex.get()));
  }
  return authority;
}

}  // namespace hallmark::dns
