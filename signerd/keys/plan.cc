#include "signerd/keys/plan.h"

#include <algorithm>

#include "signerd/keys/records.h"
#include "signerd/keys/rotation_policy.h"

namespace hallmark::keys {
namespace {

using snapshot::KeyState;
using std::chrono::sys_seconds;
using store::DomainLife;
using store::Fate;
using store::KeyLife;
using store::RotationPolicy;

bool Signs(const KeyLife& key) { return key.key.state == KeyState::kActive; }
bool HasNotSigned(const KeyLife& key) {
  return key.key.state == KeyState::kGenerated || key.key.state == KeyState::kPublished ||
         key.key.state == KeyState::kReady;
}

// A successor is begun this much before the present keys are too old, so that it can sign by then.
std::chrono::seconds Lead(const RotationPolicy& policy) {
  return std::min(policy.propagation + 2 * policy.record_ttl, policy.lifetime / 2);
}

std::optional<Step> PlanRotation(const DomainLife& life, const RotationPolicy& policy) {
  if (SetUnderWay(life)) return std::nullopt;
  Step step{Work::kPlan, "", KeyState::kGenerated, kNever, ""};
  if (life.rotation.wanted != store::Wanted::kNothing) {
    step.due = life.rotation.wanted_since;
    step.waits_for = "asked for by " + life.rotation.wanted_by;
    return step;
  }
  if (policy.on_demand) return std::nullopt;
  for (const KeyLife& key : life.keys) {
    if (!Signs(key)) continue;
    const sys_seconds due =
        key.key.exposed ? key.key.state_since : key.key.state_since + policy.lifetime - Lead(policy);
    if (due >= step.due) continue;
    step.due = due;
    step.waits_for = key.key.exposed ? key.key.selector + " was imported: its private part was outside of a token"
                                     : "the lifetime of " + key.key.selector;
  }
  return step.due == kNever ? std::nullopt : std::optional(step);
}

Step StepOfPublished(const KeyLife& key, const DomainLife& life, const RotationPolicy& policy, sys_seconds now) {
  Step step{Work::kObserve, key.key.selector, KeyState::kReady, now, ""};
  const bool seen = key.visible_since != sys_seconds{};
  // The first keys of a domain replace none: they may be too early.
  const bool replaces = std::any_of(life.keys.begin(), life.keys.end(), Signs);
  if (replaces && !life.rotation.emergency) step.waits_since = seen ? key.visible_since : now;
  if (!seen) {
    step.waits_for = "its record at every authoritative server";
    return step;
  }
  // Nobody can have asked for a selector that was never named: an emergency need not wait for caches.
  if (life.rotation.emergency) return step;
  step.due = key.visible_since + key.longest_ttl + key.negative_ttl + policy.propagation;
  step.waits_for = "caches: TTL " + std::to_string(key.longest_ttl.count()) + " s, negative TTL " +
                   std::to_string(key.negative_ttl.count()) + " s, propagation " +
                   std::to_string(policy.propagation.count()) + " s since every server has its record";
  return step;
}

std::optional<Step> StepOfKey(const KeyLife& key, const DomainLife& life, const RotationPolicy& policy,
                              sys_seconds now) {
  const std::string& selector = key.key.selector;
  const sys_seconds since = key.key.state_since;
  if (key.fate == Fate::kAbandoned && HasNotSigned(key)) {
    return Step{Work::kWithdraw, selector, KeyState::kWithdrawn, since, "it was given up"};
  }
  switch (key.key.state) {
    case KeyState::kGenerated:
      if (key.set == 0) return std::nullopt;  // made by hand, and activated by hand
      return Step{Work::kPublish, selector, KeyState::kPublished, since, ""};
    case KeyState::kPublished: return StepOfPublished(key, life, policy, now);
    case KeyState::kReady: return std::nullopt;  // activated with its set
    case KeyState::kRetiring:
      if (key.fate == Fate::kCompromised) {
        return Step{Work::kRevoke, selector, KeyState::kRevoked, since, "it is compromised"};
      }
      return Step{Work::kRevoke,
                  selector,
                  KeyState::kRevoked,
                  since + policy.retire,
                  "mail that it signed and that is still under way",
                  since};
    case KeyState::kRevoked:
      return Step{Work::kWithdraw,
                  selector,
                  KeyState::kWithdrawn,
                  since + policy.revoked,
                  "verifiers that are to learn that it is revoked",
                  since};
    case KeyState::kWithdrawn: {
      const bool gone = key.key.record == snapshot::RecordState::kAbsent;
      return Step{Work::kDestroy,
                  selector,
                  KeyState::kDestroyed,
                  gone ? since + policy.trash : kNever,
                  gone ? "the time in which it can still be looked at" : "its record to be gone from every server",
                  since};
    }
    case KeyState::kActive:
    case KeyState::kDestroyed: return std::nullopt;
  }
  return std::nullopt;
}

// The whole set signs from one message to the next, or none of it.
std::optional<Step> PlanActivation(const DomainLife& life, sys_seconds now) {
  if (!SetUnderWay(life) || !life.planned.empty()) return std::nullopt;
  const bool ready = std::all_of(life.keys.begin(), life.keys.end(), [](const KeyLife& key) {
    return !IsSuccessor(key) || key.key.state == KeyState::kReady;
  });
  if (!ready) return std::nullopt;
  return Step{Work::kActivate, "", KeyState::kActive, now, ""};
}

}  // namespace

bool IsSuccessor(const KeyLife& key) { return key.set != 0 && key.fate != Fate::kAbandoned && HasNotSigned(key); }

std::optional<std::int64_t> SetUnderWay(const DomainLife& life) {
  if (!life.planned.empty()) return life.planned.front().set;
  for (const KeyLife& key : life.keys) {
    if (IsSuccessor(key)) return key.set;
  }
  return std::nullopt;
}

std::vector<Step> Plan(const DomainLife& life, const RotationPolicy& policy, sys_seconds now) {
  std::vector<Step> steps;
  if (auto rotation = PlanRotation(life, policy)) steps.push_back(std::move(*rotation));
  for (const store::PlannedKey& planned : life.planned) {
    steps.push_back({Work::kGenerate, planned.selector, KeyState::kGenerated, now, ""});
  }
  for (const KeyLife& key : life.keys) {
    if (auto step = StepOfKey(key, life, policy, now)) steps.push_back(std::move(*step));
  }
  if (auto activation = PlanActivation(life, now)) steps.push_back(std::move(*activation));
  return steps;
}

}  // namespace hallmark::keys
