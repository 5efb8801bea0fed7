#pragma once

#include <span>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "signerd/snapshot/snapshot.h"

// Who may sign what: yes, or no with a reason. Pure functions of one snapshot: any thread, no lock, no I/O.
namespace hallmark::admission {

// The relay that a client certificate names. `identities` are the certificate's SANs as "dns:NAME" and "uri:URI".
// Matches exactly one configured relay; kCallerUnknown where none or more than one matches (a certificate must not be
// two relays).
Result<const snapshot::Relay*> AdmitCaller(const snapshot::Snapshot& snapshot, std::span<const std::string> identities);

// The signing domain for a message of `author_domain` (A-label, lower case). `requested` may be empty: then it is the
// longest configured domain that is the author domain or its parent. Never falls back to a shorter one that the relay
// may use: that would sign for a domain in the name of its parent.
// kDomainNotConfigured, kDomainNotAllowed (not this relay's, or From is not within it), kNoActiveKey.
Result<const snapshot::Domain*> ChooseDomain(const snapshot::Snapshot& snapshot, const snapshot::Relay& relay,
                                             std::string_view author_domain, std::string_view requested);

}  // namespace hallmark::admission
