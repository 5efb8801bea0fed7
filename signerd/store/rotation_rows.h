#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "signerd/dkim/types.h"
#include "signerd/snapshot/snapshot.h"

// What is kept of the life of keys and of their rotation.
namespace hallmark::store {

struct KeyKind {
  dkim::Algorithm algorithm = dkim::Algorithm::kRsaSha256;
  unsigned bits = 2048;  // RSA only
  friend bool operator==(const KeyKind&, const KeyKind&) = default;
};

// How a domain's keys are replaced. proto/hallmark/admin/v1/rotation.proto explains each.
struct RotationPolicy {
  std::string domain;  // empty: of every domain that has none of its own
  bool on_demand = false;
  std::vector<KeyKind> algorithms = {{dkim::Algorithm::kRsaSha256, 2048}, {dkim::Algorithm::kEd25519Sha256, 0}};
  std::chrono::seconds lifetime = std::chrono::days(90);
  std::chrono::seconds propagation = std::chrono::hours(1);
  std::chrono::seconds retire = std::chrono::days(7);
  std::chrono::seconds revoked = std::chrono::days(30);
  std::chrono::seconds trash = std::chrono::days(30);
  std::chrono::seconds record_ttl = std::chrono::hours(1);
  std::string selector = "{date}{letter}{random}";
  std::string publisher = "manual";
  std::string delegation;  // a zone; empty: none
  std::string token;       // empty: the default one
  std::string backup_waiver, backup_waived_by;
  std::chrono::sys_seconds backup_waived{};
};

// What is special about the end of a key. The numbers are in the database.
enum class Fate : std::uint8_t {
  kNone = 0,
  kAbandoned = 1,    // it was given up before it signed: its record goes without having been revoked
  kSuspected = 2,    // an operator said that others know it
  kCompromised = 3,  // a second person agreed: it is revoked as soon as it signs no longer
};

// A key, and where it is in its life.
struct KeyLife {
  snapshot::Key key;
  std::int64_t set = 0;  // the keys of a domain that rotate together; 0: made by hand
  Fate fate = Fate::kNone;
  // Since when every authoritative server has its record; 1970: not (any more).
  std::chrono::sys_seconds visible_since{};
  // The longest TTL that its record was ever seen with, and the negative TTL of its zone.
  std::chrono::seconds longest_ttl{}, negative_ttl{};
  // Where its record was put, which a later policy does not change; empty: nowhere yet.
  std::string publisher, published_name;
};

// A pair that is about to be made: if a crash comes in between, the CKA_ID tells whether the token has it.
struct PlannedKey {
  std::string selector, token;
  Bytes cka_id;
  KeyKind kind;
  std::int64_t set = 0;
};

enum class Wanted : std::uint8_t { kNothing = 0, kRotation = 1, kEmergency = 2 };

// What is kept of a domain's rotation beside its keys.
struct RotationRow {
  bool paused = false;
  std::string pause_reason;
  Wanted wanted = Wanted::kNothing;  // asked for, and not begun yet
  std::string wanted_by;
  std::chrono::sys_seconds wanted_since{};
  bool emergency = false;  // of the set that is under way: do not wait for caches
  std::int64_t last_set = 0;
};

// All that is kept of a domain's keys but those that are DESTROYED.
struct DomainLife {
  std::string domain;
  RotationRow rotation;
  std::vector<KeyLife> keys;  // in order of creation, then selector
  std::vector<PlannedKey> planned;
};

// A step: of a key, of its record, or of the domain.
struct KeyEvent {
  std::int64_t id = 0;
  std::string domain, selector;
  std::string axis;  // "key", "record" or "domain"
  std::string from, to;
  std::chrono::sys_seconds planned{}, done{};  // done 1970: not yet
  std::string by, note;
};

// What is changed together or not at all.
struct RotationCommit {
  struct KeyChange {
    KeyLife after;
    snapshot::KeyState from;
  };
  std::string domain;
  std::optional<RotationRow> rotation;  // replaces the row
  std::vector<PlannedKey> plan;         // to be made
  std::optional<KeyLife> made;          // was planned
  std::vector<std::string> unplan;      // selectors of what will not be made
  std::vector<KeyChange> keys;
  std::vector<KeyEvent> events;  // done
};

}  // namespace hallmark::store
