#pragma once

#include <atomic>
#include <boost/unordered/unordered_flat_map.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/field_selection.h"
#include "signerd/dkim/public_key.h"
#include "signerd/dkim/types.h"
#include "signerd/snapshot/partner.h"

// The immutable view that the hot path reads. It is built whole from the store, never changed afterwards, and swapped
// as one pointer; so a message sees the domains, keys and relays of one instant.
namespace hallmark::snapshot {

// Where a key is in its life. A key is only ever in one state; keys/transitions.h says which changes are allowed.
// The numbers are those of the store.
enum class KeyState : std::uint8_t {
  kGenerated = 0,  // in the token, signs nothing
  kPublished = 4,  // its record was handed to a publisher
  kReady = 5,      // its record was seen everywhere for long enough: may sign
  kActive = 1,     // signs
  kRetiring = 2,   // signs no longer; its record must stay in DNS while mail is under way
  kRevoked = 3,    // signs never again; its record says so with an empty p=
  kWithdrawn = 6,  // its record is gone
  kDestroyed = 7,  // its pair is no longer in the token
};

// Where its DNS record is, by what the authoritative servers were seen to answer.
enum class RecordState : std::uint8_t {
  kAbsent = 0,       // at no server
  kRumoured = 1,     // on its way in: not everywhere, or not for long enough
  kVisible = 2,      // everywhere, and in every cache that looks
  kUnretentive = 3,  // being changed or on its way out: caches may have the older one
};

// What is recorded about a pair of key objects in a token.
struct Key {
  std::string domain;    // signing domain, A-label
  std::string selector;  // unique in its domain for ever
  std::string token;     // by its name in the configuration
  Bytes cka_id;
  KeyState state = KeyState::kGenerated;
  RecordState record = RecordState::kAbsent;
  bool exposed = false;  // it was imported: its private part was outside a token once
  std::chrono::sys_seconds created, state_since;
  // The recorded public part: a token's object must match it before use, and every signature must verify with it.
  std::shared_ptr<const dkim::PublicKey> public_key;
};

struct Domain {
  std::string name;  // A-label
  std::shared_ptr<const dkim::PreparedProfile> profile;
  std::vector<std::shared_ptr<const Key>> active_keys;  // RSA before Ed25519, then by selector
};

template <class T>
using NameMap = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;
// The entry of that name, made where there is none: a string is allocated only then.
template <class T>
T& At(NameMap<T>& map, std::string_view name) {
  const auto found = map.find(name);
  return found != map.end() ? found->second : map[std::string(name)];
}
// The same where entries may move as it grows: what is looked for lies in two or three cache lines, which matters where
// they are cold.
template <class T>
using NameTable = boost::unordered_flat_map<std::string, T, StringHash, std::equal_to<>>;

struct Snapshot {
  NameTable<Domain> domains;  // by name
  NameTable<Relay> relays;    // by identity
  // By name. "own" is there even before there is a policy; it may do nothing then.
  NameTable<Partner> partners{{std::string(kOwn), Partner{std::string(kOwn)}}};

  // SHA-256 of their DER forms, lower-case hexadecimal.
  std::set<std::string, std::less<>> revoked_certificates;

  const Domain* FindDomain(std::string_view name) const;
  // The longest configured domain that is `author_domain` or a parent of it; null when there is none.
  const Domain* FindDomainFor(std::string_view author_domain) const;
  const Relay* FindRelay(std::string_view identity) const;
  const Relay* FindRelayByName(std::string_view name) const;  // looks at all: not for the way of a message
  const Partner* FindPartner(std::string_view name) const;
};

// The current snapshot. Get from any thread, without waiting; Set from the thread that changes the store.
class Current {
 public:
  explicit Current(std::shared_ptr<const Snapshot> first) : pointer_(std::move(first)) {}
  std::shared_ptr<const Snapshot> Get() const { return pointer_.load(); }
  void Set(std::shared_ptr<const Snapshot> next) { pointer_.store(std::move(next)); }

 private:
  std::atomic<std::shared_ptr<const Snapshot>> pointer_;
};

}  // namespace hallmark::snapshot
