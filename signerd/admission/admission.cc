#include "signerd/admission/admission.h"

#include "signerd/dkim/author.h"

namespace hallmark::admission {

using snapshot::Domain;
using snapshot::Relay;
using snapshot::Snapshot;

Result<const Relay*> AdmitCaller(const Snapshot& snapshot, std::span<const std::string> identities) {
  const Relay* caller = nullptr;
  std::string all;
  for (const std::string& identity : identities) {
    all += (all.empty() ? "" : ", ") + identity;
    const Relay* relay = snapshot.FindRelay(identity);
    if (relay == nullptr || relay == caller) continue;
    if (caller != nullptr) {
      return MakeError(Reason::kCallerUnknown, "the client certificate names more than one relay: " + caller->name +
                                                   " and " + relay->name + "; give each relay its own");
    }
    caller = relay;
  }
  if (caller != nullptr) return caller;
  return MakeError(Reason::kCallerUnknown, all.empty()
                                               ? "the client certificate has no DNS or URI subject alternative name"
                                               : "no relay is configured for the client certificate (" + all + ")");
}

Result<const Domain*> ChooseDomain(const Snapshot& snapshot, const Relay& relay, std::string_view author_domain,
                                   std::string_view requested) {
  const Domain* domain = nullptr;
  if (requested.empty()) {
    domain = snapshot.FindDomainFor(author_domain);
    if (domain == nullptr) {
      return MakeError(Reason::kDomainNotConfigured,
                       "no signing domain is configured for the author domain " + std::string(author_domain));
    }
  } else {
    const auto name = dkim::NormalizeDomain(requested);
    if (!name) return MakeError(Reason::kInvalidArgument, "signing_domain: " + name.error().message);
    // Before anything about the domain is told: it may be another tenant's.
    if (!relay.MayUse(*name)) {
      return MakeError(Reason::kDomainNotAllowed, "relay " + relay.name + " may not sign for " + *name);
    }
    domain = snapshot.FindDomain(*name);
    if (domain == nullptr)
      return MakeError(Reason::kDomainNotConfigured, "the signing domain " + *name + " is not configured");
    if (!snapshot::IsWithin(author_domain, *name)) {
      return MakeError(Reason::kDomainNotAllowed, "the author domain " + std::string(author_domain) +
                                                      " is not within the signing domain " + *name);
    }
  }
  if (!relay.MayUse(domain->name)) {
    return MakeError(Reason::kDomainNotAllowed, "relay " + relay.name + " may not sign for " + domain->name);
  }
  if (domain->active_keys.empty()) return MakeError(Reason::kNoActiveKey, domain->name + " has no active key");
  return domain;
}

}  // namespace hallmark::admission
