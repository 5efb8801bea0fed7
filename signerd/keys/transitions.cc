#include "signerd/keys/transitions.h"

#include <cstdlib>

namespace hallmark::keys {
namespace {

using enum snapshot::KeyState;

constexpr Transition kTransitions[] = {
    {Act::kActivate, kGenerated, kActive},
    {Act::kActivate, kRetiring, kActive},  // the way back: its record is still in DNS
    {Act::kRetire, kActive, kRetiring},
    {Act::kRevoke, kRetiring, kRevoked},  // no way back: verifiers were told
};

}  // namespace

std::span<const Transition> Transitions() { return kTransitions; }

std::optional<snapshot::KeyState> Next(snapshot::KeyState from, Act act) {
  for (const Transition& row : kTransitions) {
    if (row.act == act && row.from == from) return row.to;
  }
  return std::nullopt;
}

std::string_view StateName(snapshot::KeyState state) {
  switch (state) {
    case kGenerated: return "GENERATED";
    case kActive: return "ACTIVE";
    case kRetiring: return "RETIRING";
    case kRevoked: return "REVOKED";
  }
  std::abort();  // Unreachable: states come only from this program and its own database.
}

}  // namespace hallmark::keys
