#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "signerd/dkim/signature.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/tokens/fair_queue.h"

namespace hallmark::tokens {

using Deadline = std::chrono::steady_clock::time_point;

// A signature that a token made. It is not verified yet.
struct Made {
  Bytes signature;
  std::string_view token;  // which one of the key's group; good as long as the TokenSet
};

struct Race;

// One signature to be made.
struct Signing {
  std::shared_ptr<const snapshot::Key> key;
  dkim::Digest digest;
  // What was hashed, for a token that insists on hashing itself. Never null; owned by whoever waits for `done`.
  const std::string* signed_data = nullptr;
  Deadline deadline;
  Flow flow;  // whose message it is; its name is owned by whoever waits for `done`
  // Set when nobody waits for it any more: it then gives up its place. Null, or owned by whoever waits for `done`.
  const std::atomic<bool>* cancelled = nullptr;
  // Called once, on the tokens' I/O thread, and must not block. kTokenDown, kPinRejected, kKeyMissing, kKeyMismatch,
  // kTokenRefused, kDeadlineExceeded, kCancelled; kOverloaded at once when its turn would come after its deadline.
  std::function<void(Result<Made>)> done;
  // Ed25519 only: the token signs *signed_data as it is, not a digest of it.
  bool raw = false;
  // The one token of the key's group that is to make it, where another's signature would say nothing. Empty: any.
  std::string_view only = {};
  // One of the group that is asked only when no other can: its signature over this was wrong.
  std::string_view avoid = {};

  // Of the group, where it has several tokens.
  std::shared_ptr<Race> race = nullptr;
};

// A signing on its way through a group of several tokens: at one of them, or at two after the first was late. The first
// signature is the answer; any would be the same.
struct Race {
  Signing signing;
  std::uint64_t tried = 0;  // bits: at which members it was or is, in this round
  int at = 0;               // at how many it is now
  bool answered = false;    // what `signing` points to may be gone
  bool last = false;        // the second round: no member was left, and each is given one more chance
  std::optional<Error> error;
};

}  // namespace hallmark::tokens
