#include "signerd/admission/admission.h"

namespace hallmark::admission {

using snapshot::Partner;
using snapshot::Relay;
using snapshot::Snapshot;

namespace {

Status CheckRelayState(const Relay& relay) {
  if (relay.state == snapshot::RelayState::kActive) return Ok();
  return MakeError(Reason::kCertificateRevoked, "relay " + relay.name + " is revoked");
}

}  // namespace

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
  if (caller == nullptr) {
    return MakeError(Reason::kCallerUnknown, all.empty()
                                                 ? "the client certificate has no DNS or URI subject alternative name"
                                                 : "no relay is configured for the client certificate (" + all + ")");
  }
  const Status active = CheckRelayState(*caller);
  if (!active) return active.error();
  return caller;
}

Result<const Partner*> FindPartner(const Snapshot& snapshot, const Relay& relay, std::string_view requested) {
  if (requested.empty()) {
    if (relay.partners.contains(snapshot::kOwn)) {
      requested = snapshot::kOwn;
    } else if (relay.partners.size() == 1) {
      requested = *relay.partners.begin();
    } else {
      return MakeError(Reason::kPartnerUnknown,
                       relay.partners.empty() ? "relay " + relay.name + " may speak for no partner"
                                              : "relay " + relay.name + " may speak for several partners: name one");
    }
  }
  const Partner* partner = relay.partners.contains(requested) ? snapshot.FindPartner(requested) : nullptr;
  if (partner != nullptr) return partner;
  return MakeError(Reason::kPartnerNotAllowed, "relay " + relay.name + " may not speak for the partner it names");
}

Status CheckSize(const Partner& partner, std::uint64_t octets) {
  const std::uint64_t most = partner.message.max_octets;
  if (most == 0 || octets <= most) return Ok();
  return MakeError(Reason::kSizeNotAllowed, "the message has over " + std::to_string(most) +
                                                " octets, which is the most for partner " + partner.name);
}

Status CheckCertificate(const Snapshot& now, const Relay& relay, std::string_view certificate) {
  if (!now.revoked_certificates.contains(certificate)) return Ok();
  return MakeError(Reason::kCertificateRevoked,
                   "the client certificate of relay " + relay.name + " was revoked meanwhile");
}

Status CheckStillAllowed(const Snapshot& now, const Relay& relay, std::string_view certificate,
                         const Partner& partner) {
  const Status good = CheckCertificate(now, relay, certificate);
  if (!good) return good;
  const Relay* known_relay = now.FindRelay(relay.identity);
  if (known_relay == nullptr || known_relay->state != snapshot::RelayState::kActive) {
    return MakeError(Reason::kCertificateRevoked, "relay " + relay.name + " was revoked meanwhile");
  }
  const Partner* known = now.FindPartner(partner.name);
  if (known == nullptr || known->state == snapshot::PartnerState::kRevoked) {
    return MakeError(Reason::kPartnerRevoked, "partner " + partner.name + " was revoked meanwhile");
  }
  if (known->state == snapshot::PartnerState::kSuspended) {
    return MakeError(Reason::kPartnerSuspended, "partner " + partner.name + " was suspended meanwhile");
  }
  return Ok();
}

}  // namespace hallmark::admission
