#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/header.h"
#include "signerd/snapshot/snapshot.h"

// Who may sign what: yes, or no with a reason. Pure functions of one snapshot: any thread, no lock, no I/O. A refusal
// says nothing about domains and partners that the caller may not use, not even whether they exist.
namespace hallmark::admission {

// The relay that a client certificate names. `identities` are the certificate's SANs as "dns:NAME" and "uri:URI".
// Matches exactly one relay; kCallerUnknown where none or more than one matches (a certificate must not be two relays),
// kCertificateRevoked where that relay is revoked.
Result<const snapshot::Relay*> AdmitCaller(const snapshot::Snapshot& snapshot, std::span<const std::string> identities);

// The partner that `relay` speaks for. `requested` may be empty: then it is "own" if the relay may speak for it, else
// the relay's only partner. kPartnerNotAllowed; kPartnerUnknown where none was named and none follows. Its state is not
// looked at.
Result<const snapshot::Partner*> FindPartner(const snapshot::Snapshot& snapshot, const snapshot::Relay& relay,
                                             std::string_view requested);

// What is known of a message when its header has ended.
struct Question {
  const snapshot::Snapshot& snapshot;
  const snapshot::Relay& relay;
  std::string_view requested_partner, requested_domain;  // may be empty
  const dkim::Header& header;
  std::optional<std::uint64_t> octets;  // of the whole message, where they are known already
  std::size_t recipients = 0;           // of the envelope
  std::chrono::sys_seconds now;
};

// Both pointers are within the snapshot.
struct Decision {
  const snapshot::Partner* partner = nullptr;
  const snapshot::Domain* domain = nullptr;  // the signing domain: configured, and with an active key
  dkim::Author author;
};

// What one rule said.
struct Step {
  std::string_view rule;  // "signing domain"
  bool passed;
  std::string sentence;  // for a person
};
using Trace = std::vector<Step>;

// Runs the rules in their order until one refuses. The decision; or the error of the rule that refused. With a `trace`,
// each rule that ran is added to it.
Result<Decision> Decide(const Question& question, Trace* trace = nullptr);

// The rules that Decide runs, by name and in order.
std::vector<std::string_view> RuleNames();

// The size rule, for where the size is known later than the header. kSizeNotAllowed.
Status CheckSize(const snapshot::Partner& partner, std::uint64_t octets);

// Whether the relay's certificate, a fingerprint, was revoked by that. kCertificateRevoked.
Status CheckCertificate(const snapshot::Snapshot& now, const snapshot::Relay& relay, std::string_view certificate);

// Whether a message that was let in with `relay`, its certificate (a fingerprint) and `partner` may still be signed as
// things are now: none of them was stopped meanwhile. kCertificateRevoked, kPartnerSuspended, kPartnerRevoked.
Status CheckStillAllowed(const snapshot::Snapshot& now, const snapshot::Relay& relay, std::string_view certificate,
                         const snapshot::Partner& partner);

}  // namespace hallmark::admission
