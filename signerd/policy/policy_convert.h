#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/policy.pb.h"
#include "signerd/snapshot/partner.h"

// Between the API's form of the policy and our own.
namespace hallmark::policy {

hallmark::admin::v1::Partner ToApi(const snapshot::Partner& partner);
hallmark::admin::v1::Relay ToApi(const snapshot::Relay& relay);
hallmark::admin::v1::Policy ToApi(const snapshot::Policy& policy);

// kInvalidArgument names the member: "quota.burst: ...". A state that is not said is active.
Result<snapshot::Partner> FromApi(const hallmark::admin::v1::Partner& partner);
Result<snapshot::Relay> FromApi(const hallmark::admin::v1::Relay& relay);
// Checked as a whole: "own" is there, names and identities are used once, relays name partners that are there. A state
// that is not said is that of `present`. kInvalidArgument names the partner or relay: "partner acme: weight: ...".
Result<snapshot::Policy> FromApi(const hallmark::admin::v1::Policy& policy, const snapshot::Policy& present);

// Changes with the policy; for ApplyPolicyRequest.
std::string Etag(const snapshot::Policy& policy);

// What a policy may hold, for messages: one place for the file and the API.
inline constexpr std::string_view kNameForm = "1 to 63 lower-case letters, digits and hyphens";
inline constexpr std::string_view kIdentityForm =
    "\"dns:NAME\" or \"uri:URI\", as in the certificate's subject alternative name";
inline constexpr std::string_view kDomainsForm =
    "a list of \"example.com\" (that domain), \".example.com\" (it and all below), or \"*\"";
inline constexpr std::string_view kAddressesForm =
    "a list of addresses, for example \"sales@example.com\" or \"*@news.example.com\"";
inline constexpr std::string_view kSuspendOnForm =
    "a list of SURGE, DORMANT_DOMAIN, REFUSAL_BURST, AUTHOR_CHANGE, SIZE_CHANGE, HARD_LIMIT, OFF_HOURS";

inline constexpr std::string_view kTimeForm = "a time after 1970-01-01T00:00:00Z, up to the end of 9999";

inline constexpr std::int64_t kMostWeight = 1000;
inline constexpr std::int64_t kMostRate = 1'000'000;           // a second; also of a burst
inline constexpr std::int64_t kMostCount = 1'000'000'000'000;  // of messages, recipients and octets
// A list may be long, but not so long that every message pays for it.
inline constexpr std::size_t kMostAddresses = 1000;
inline constexpr std::size_t kMostDomains = 200'000;

bool IsName(std::string_view text);
bool IsIdentity(std::string_view text);
bool IsAlertKind(std::string_view text);
bool IsTime(std::chrono::sys_seconds time);
std::string AtMost(std::size_t most);  // "at most 1000"

}  // namespace hallmark::policy
