#include "signerd/snapshot/snapshot.h"

namespace hallmark::snapshot {

const Domain* Snapshot::FindDomain(std::string_view name) const {
  const auto found = domains.find(name);
  return found == domains.end() ? nullptr : &found->second;
}

const Domain* Snapshot::FindDomainFor(std::string_view author_domain) const {
  std::string_view name = author_domain;
  while (true) {
    if (const Domain* domain = FindDomain(name)) return domain;
    const std::size_t dot = name.find('.');
    if (dot == std::string_view::npos) return nullptr;
    name.remove_prefix(dot + 1);
  }
}

const Relay* Snapshot::FindRelay(std::string_view identity) const {
  const auto found = relays.find(identity);
  return found == relays.end() ? nullptr : &found->second;
}

const Relay* Snapshot::FindRelayByName(std::string_view name) const {
  for (const auto& [identity, relay] : relays) {
    if (relay.name == name) return &relay;
  }
  return nullptr;
}

const Partner* Snapshot::FindPartner(std::string_view name) const {
  const auto found = partners.find(name);
  return found == partners.end() ? nullptr : &found->second;
}

}  // namespace hallmark::snapshot
