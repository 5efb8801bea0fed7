#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "signerd/store/rotation_rows.h"

// What comes next in the life of a domain's keys. Pure: the same state, policy and time give the same steps.
namespace hallmark::keys {

enum class Work : std::uint8_t {
  kPlan,      // begin a rotation: choose the selectors of a new set
  kGenerate,  // make a planned pair in the token
  kPublish,   // hand its record to the publisher
  kObserve,   // see its record at every server: for the first time, or after the wait
  kActivate,  // the new set signs, the present one retires
  kRevoke,    // its record gets an empty p=
  kWithdraw,  // its record goes
  kDestroy,   // its pair goes
};

struct Step {
  Work work;
  std::string selector;  // empty: of the domain
  snapshot::KeyState next = snapshot::KeyState::kGenerated;
  std::chrono::sys_seconds due;
  std::string waits_for;  // for a person: why not before
  // When the wait began that must not be cut short, as by a clock that is ahead; nothing where there is none.
  std::optional<std::chrono::sys_seconds> waits_since = std::nullopt;
};

// A domain that no step is left for: far away.
inline constexpr std::chrono::sys_seconds kNever{std::chrono::days(365'000)};

// Every step whose time is known, in the order in which those that are due are made.
std::vector<Step> Plan(const store::DomainLife& life, const store::RotationPolicy& policy,
                       std::chrono::sys_seconds now);

// The set that is on its way to replace the keys that sign; nothing when no rotation is under way.
std::optional<std::int64_t> SetUnderWay(const store::DomainLife& life);

// Whether the key is made by a rotation and does not sign yet.
bool IsSuccessor(const store::KeyLife& key);

}  // namespace hallmark::keys
