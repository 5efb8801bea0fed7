#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
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
  void Add(std::uint64_t id, bool makes_key, bool ready, KeyDone done);
  // The token is ready: from now on each may take as long as a token does.
  void NoteReady();
  // It has the token's only session.
  void NoteBegun(std::uint64_t id);
  // Answers the call, if somebody still waits for it.
  void Answer(const link::KeyReply& reply);
  void FailExpired(TimePoint now);
  void FailAll(const Error& error);
  // Whether a key that is being made keeps the token's only session from signing.
  bool HoldSession() const;

 private:
  struct Call {
    KeyDone done;
    TimePoint expires;
    bool makes_key = false;
    bool begun = false;
  };
  const std::string token_;
  std::map<std::uint64_t, Call> calls_;
};

}  // namespace hallmark::tokens
