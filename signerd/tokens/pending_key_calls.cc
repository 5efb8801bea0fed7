#include "signerd/tokens/pending_key_calls.h"

#include <algorithm>
#include <utility>

#include "signerd/tokens/outcome_errors.h"

namespace hallmark::tokens {
namespace {

using std::chrono::steady_clock;

// Generation of RSA-4096 takes a minute or two on a smartcard, by luck more.
constexpr std::chrono::seconds kKeyCallTimeout{600};
// How long such a call waits for a token that is starting.
constexpr std::chrono::seconds kStartTimeout{10};

}  // namespace

void PendingKeyCalls::Add(std::uint64_t id, bool ready, KeyDone done) {
  const auto patience = ready ? kKeyCallTimeout : kStartTimeout;
  calls_.emplace(id, Call{std::move(done), steady_clock::now() + patience, ready, std::nullopt});
}

void PendingKeyCalls::NoteReady(TimePoint now) {
  for (auto& [id, call] : calls_) {
    call.expires = now + kKeyCallTimeout;
    call.ready = true;
  }
}

void PendingKeyCalls::NoteBegun(const link::KeyCallBegun& begun, TimePoint now) {
  const auto found = calls_.find(begun.id);
  if (found != calls_.end()) found->second.begun = Making{now, begun.alone != 0};
}

void PendingKeyCalls::Answer(const link::KeyReply& reply, TimePoint now) {
  for (auto& [id, call] : calls_) {
    if (call.ready) call.expires = now + kKeyCallTimeout;
  }
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

bool PendingKeyCalls::FailExpired(TimePoint now) {
  bool hangs = false;
  for (auto call = calls_.begin(); call != calls_.end();) {
    if (call->second.expires > now) {
      ++call;
      continue;
    }
    hangs = hangs || call->second.ready;
    const KeyDone done = std::move(call->second.done);
    call = calls_.erase(call);
    done(MakeError(Reason::kTokenDown, "token " + token_ + ": the token did not answer in time"));
  }
  return hangs;
}

void PendingKeyCalls::FailAll(const Error& error) {
  for (const auto& [id, call] : std::exchange(calls_, {})) call.done(error);
}

std::optional<PendingKeyCalls::Making> PendingKeyCalls::Begun() const {
  const auto begun =
      std::find_if(calls_.begin(), calls_.end(), [](const auto& entry) { return entry.second.begun.has_value(); });
  return begun == calls_.end() ? std::nullopt : begun->second.begun;
}

}  // namespace hallmark::tokens
