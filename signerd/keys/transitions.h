#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "signerd/snapshot/snapshot.h"

// The one table of what a key may become.
namespace hallmark::keys {

// What a rotation or an operator does to a key; docs/design.md, "Keys rotate on two axes".
enum class Act : std::uint8_t {
  kPublish,   // its record is put into DNS
  kConfirm,   // the record was seen everywhere for long enough
  kDoubt,     // it was not after all
  kActivate,  // it signs
  kRetire,    // it signs no more; its record stays for mail on its way
  kRevoke,    // its record gets an empty p=
  kWithdraw,  // its record is taken out
  kDestroy,   // the pair is destroyed in the token
};

// A row of the table. What has no row is not allowed.
struct Transition {
  Act act;
  snapshot::KeyState from, to;
};

// The whole table.
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
