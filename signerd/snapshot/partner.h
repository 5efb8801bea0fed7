#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "signerd/snapshot/rules.h"

// Who sends, through which relay, and what they may do. Plain values; docs/operations.md explains each for operators.
namespace hallmark::snapshot {

// The organisation itself. It is always there and cannot be revoked.
inline constexpr std::string_view kOwn = "own";

enum class PartnerState : std::uint8_t { kActive, kSuspended, kRevoked };
enum class RelayState : std::uint8_t { kActive, kRevoked };

// How the author domain and the signing domain must be related, as DMARC has it (RFC 7489 section 3.1). From the
// strictest to the loosest.
enum class Alignment : std::uint8_t {
  kStrict,   // the same
  kRelaxed,  // the same organizational domain
  kOff,      // any: receivers may then not take the signature for the author's
};

// What a message of a partner must be like.
struct MessageRules {
  bool forbid_bcc = false, require_date = false, require_message_id = false;
  std::uint64_t max_octets = 0;  // of the whole message; 0: no limit
  friend bool operator==(const MessageRules&, const MessageRules&) = default;
};

// 0 is no limit.
struct Quota {
  std::uint32_t rate_per_second = 0, burst = 0;  // burst 0: as much as the rate
  std::uint64_t messages_per_day = 0;            // days are UTC's
  std::uint64_t recipients_per_message = 0, recipients_per_day = 0;
  friend bool operator==(const Quota&, const Quota&) = default;
};

// What the watcher may do by itself.
struct WatchSettings {
  std::set<std::string> suspend_on;  // kinds of alerts
  std::int64_t hard_limit_per_minute = 0;
  friend bool operator==(const WatchSettings&, const WatchSettings&) = default;
};

// In whose name relays send: the organisation itself ("own") or a third party.
struct Partner {
  std::string name;
  PartnerState state = PartnerState::kActive;
  DomainRules author_domains = {}, signing_domains = {};
  std::vector<AddressPattern> addresses = {};  // of From; none: any
  Alignment alignment = Alignment::kRelaxed;
  MessageRules message = {};
  Quota quota = {};
  std::optional<std::chrono::sys_seconds> not_before = {}, not_after = {};  // valid from the one until before the other
  double weight = 1;  // its share where there is more work than can be done
  WatchSettings watch = {};
  friend bool operator==(const Partner&, const Partner&) = default;
};

// A client certificate, and the partners it may speak for.
struct Relay {
  std::string name;
  std::string identity;  // "dns:NAME" or "uri:URI", as its certificate's SAN says
  NameSet partners = {};
  RelayState state = RelayState::kActive;
  friend bool operator==(const Relay&, const Relay&) = default;
};

// Who may sign what, whole.
struct Policy {
  std::map<std::string, Partner> partners;  // by name
  std::map<std::string, Relay> relays;      // by name
};

// What brings one policy to another.
struct PolicyEdit {
  std::vector<Partner> put_partners;  // new or changed
  std::vector<Relay> put_relays;
  std::vector<std::string> removed_partners, removed_relays;  // by name
};

}  // namespace hallmark::snapshot
