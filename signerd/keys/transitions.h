#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "signerd/snapshot/snapshot.h"

// The one table of what a key may become.
namespace hallmark::keys {

enum class Act : std::uint8_t { kPublish, kConfirm, kDoubt, kActivate, kRetire, kRevoke, kWithdraw, kDestroy };

struct Transition {
  Act act;
  snapshot::KeyState from, to;
};

std::span<const Transition> Transitions();

// The state that `act` brings a key to from `from`; nothing when it is not allowed.
std::optional<snapshot::KeyState> Next(snapshot::KeyState from, Act act);

// The same for a key: kStateConflict, with a sentence, when it is not allowed.
Result<snapshot::KeyState> StateAfter(const snapshot::Key& key, Act act);

// "GENERATED", "PUBLISHED", ...
std::string_view StateName(snapshot::KeyState state);
// "ABSENT", "RUMOURED", "VISIBLE", "UNRETENTIVE".
std::string_view StateName(snapshot::RecordState state);

}  // namespace hallmark::keys
