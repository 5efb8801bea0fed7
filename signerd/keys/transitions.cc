#include "signerd/keys/transitions.h"

#include <cstdlib>

namespace hallmark::keys {
namespace {

using enum snapshot::KeyState;

constexpr Transition kTransitions[] = {
    {Act::kPublish, kGenerated, kPublished},
    {Act::kConfirm, kPublished, kReady},
    {Act::kDoubt, kReady, kPublished},  // some server lost its record before it signed
    {Act::kActivate, kGenerated, kActive},
    {Act::kActivate, kPublished, kActive},
    {Act::kActivate, kReady, kActive},
    {Act::kActivate, kRetiring, kActive},  // the way back: its record is still in DNS
    {Act::kRetire, kActive, kRetiring},
    {Act::kRevoke, kRetiring, kRevoked},       // no way back: verifiers were told
    {Act::kWithdraw, kGenerated, kWithdrawn},  // a successor that was given up
    {Act::kWithdraw, kPublished, kWithdrawn},
    {Act::kWithdraw, kReady, kWithdrawn},
    {Act::kWithdraw, kRevoked, kWithdrawn},
    {Act::kDestroy, kWithdrawn, kDestroyed},
};

const char* Participle(Act act) {
  switch (act) {
    case Act::kPublish: return "published";
    case Act::kConfirm: return "confirmed";
    case Act::kDoubt: return "doubted";
    case Act::kActivate: return "activated";
    case Act::kRetire: return "retired";
    case Act::kRevoke: return "revoked";
    case Act::kWithdraw: return "withdrawn";
    case Act::kDestroy: return "destroyed";
  }
  return "";
}

}  // namespace

std::span<const Transition> Transitions() { return kTransitions; }

std::optional<snapshot::KeyState> Next(snapshot::KeyState from, Act act) {
  for (const Transition& row : kTransitions) {
    if (row.act == act && row.from == from) return row.to;
  }
  return std::nullopt;
}

Result<snapshot::KeyState> StateAfter(const snapshot::Key& key, Act act) {
  if (const auto next = Next(key.state, act)) return *next;
  return MakeError(Reason::kStateConflict, key.selector + "._domainkey." + key.domain + " is " +
                                               std::string(StateName(key.state)) + " and cannot be " + Participle(act) +
                                               (act == Act::kRevoke ? ": retire it first" : ""));
}

std::string_view StateName(snapshot::KeyState state) {
  switch (state) {
    case kGenerated: return "GENERATED";
    case kPublished: return "PUBLISHED";
    case kReady: return "READY";
    case kActive: return "ACTIVE";
    case kRetiring: return "RETIRING";
    case kRevoked: return "REVOKED";
    case kWithdrawn: return "WITHDRAWN";
    case kDestroyed: return "DESTROYED";
  }
  std::abort();  // Unreachable: states come only from this program and its own database.
}

std::string_view StateName(snapshot::RecordState state) {
  switch (state) {
    case snapshot::RecordState::kAbsent: return "ABSENT";
    case snapshot::RecordState::kRumoured: return "RUMOURED";
    case snapshot::RecordState::kVisible: return "VISIBLE";
    case snapshot::RecordState::kUnretentive: return "UNRETENTIVE";
  }
  std::abort();  // Unreachable, as above.
}

}  // namespace hallmark::keys
