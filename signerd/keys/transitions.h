#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "signerd/snapshot/snapshot.h"

// The one table of what a key may become.
namespace hallmark::keys {

enum class Act : std::uint8_t { kActivate, kRetire, kRevoke };

struct Transition {
  Act act;
  snapshot::KeyState from, to;
};

std::span<const Transition> Transitions();

// The state that `act` brings a key to from `from`; nothing when it is not allowed.
std::optional<snapshot::KeyState> Next(snapshot::KeyState from, Act act);

// "GENERATED", "ACTIVE", "RETIRING", "REVOKED".
std::string_view StateName(snapshot::KeyState state);

}  // namespace hallmark::keys
