#include "signerd/tokens/pending_key_calls.h"

#include <algorithm>
#include <utility>

#include "signerd/tokens/outcome_errors.h"

namespace hallmark::tokens {
namespace {

using std::chrono::steady_clock;

// Generation of RSA-4096 takes a minute or two on a smartcard, by luck more; and the call may wait for another one.
constexpr std::chrono::seconds kKeyCallTimeout{600};
// How long such a call waits for a token that is starting.
constexpr std::chrono::seconds kStartTimeout{10};

}  // namespace

void PendingKeyCalls::Add(std::uint64_t id, bool makes_key, bool ready, KeyDone done) {
  const auto patience = ready ? kKeyCallTimeout : kStartTimeout;
  calls_.emplace(id, Call{std::move(done), steady_clock::now() + patience, makes_key, false});
}

void PendingKeyCalls::NoteReady() {
  for (auto& [id, call] : calls_) call.expires = steady_clock::now() + kKeyCallTimeout;
}

void PendingKeyCalls::NoteBegun(std::uint64_t id) {
  const auto found = calls_.find(id);
  if (found != calls_.end()) found->second.begun = true;
}

void PendingKeyCalls::Answer(const link::KeyReply& reply) {
  const auto found = calls_.find(reply.id);
  if (found == calls_.end()) return;
  const KeyDone done = std::move(found->second.done);
  calls_.erase(found);
  if (reply.outcome == link::Outcome::kOk) {
    done(reply);
  } else {
    done(ErrorOf(reply, token_));
  }
}

void PendingKeyCalls::FailExpired(TimePoint now) {
  for (auto call = calls_.begin(); call != calls_.end();) {
    if (call->second.expires > now) {
      ++call;
      continue;
    }
    const KeyDone done = std::move(call->second.done);
    call = calls_.erase(call);
    done(MakeError(Reason::kTokenDown, "token " + token_ + ": the token did not answer in time"));
  }
}

void PendingKeyCalls::FailAll(const Error& error) {
  for (const auto& [id, call] : std::exchange(calls_, {})) call.done(error);
}

bool PendingKeyCalls::HoldSession() const {
  return std::any_of(calls_.begin(), calls_.end(),
                     [](const auto& entry) { return entry.second.makes_key && entry.second.begun; });
}

}  // namespace hallmark::tokens
