#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "firmware/runtime/result.h"
#include "hsm/link/frame.h"

namespace hallmark::tokens {

using KeyDone = std::function<void(Result<link::KeyReply>)>;

// The key calls that tokend has not answered yet. Not thread-safe: of one Token, and of its thread.
class PendingKeyCalls {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit PendingKeyCalls(std::string token) : token_(std::move(token)) {}

  // `ready`: whether the token is logged in. A tokend that still logs in keeps the call until it has.
  void Add(std::uint64_t id, bool ready, KeyDone done);
  // The token is ready: from now on each may take as long as a token does.
  void NoteReady(TimePoint now);
  // tokend has begun it, and says so of calls that signatures may have to wait for.
  void NoteBegun(const link::KeyCallBegun& begun, TimePoint now);
  // Answers the call, if somebody still waits for it. A token makes one after the other, so that the others' time
  // begins now.
  void Answer(const link::KeyReply& reply, TimePoint now);
  // True where the token had one of them, and answered none for as long as one may take: it hangs.
  bool FailExpired(TimePoint now);
  void FailAll(const Error& error);
  struct Making {
    TimePoint time;
    bool alone;  // it has the token's only session for itself
  };
  // The one that signatures may have to wait for, from when it was begun; nothing where there is none.
  std::optional<Making> Begun() const;

 private:
  struct Call {
    KeyDone done;
    TimePoint expires;
    bool ready = false;  // the token had it, logged in
    std::optional<Making> begun;
  };
  const std::string token_;
  std::map<std::uint64_t, Call> calls_;
};

}  // namespace hallmark::tokens
