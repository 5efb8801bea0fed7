#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "firmware/runtime/reason.h"

// What watches the way of a message. Header only, so that a watcher needs nothing of the pipeline.
namespace hallmark::pipeline {

// When a message came to each of its stages, taken once a batch. A stage that it did not reach has none.
struct Stamps {
  using Time = std::chrono::steady_clock::time_point;
  Time taken{}, preparing{}, sent{}, finishing{}, recording{}, answered{};
};

// One message that was answered. The texts live as long as the call.
struct Answered {
  std::string_view partner, relay, signing_domain;  // empty where it was refused before they were known
  std::string_view author;                          // of a signed message: the address in From
  std::uint64_t octets = 0;                         // 0: unknown
  std::size_t recipients = 0;
  std::optional<Reason> refusal;  // none: signed
  bool fewer_signatures = false;  // than its domain has keys: a token was down
  bool repeated = false;          // a retry, which got the answer that is counted already
  Stamps stamps;
};

// Told of every message once, as it is answered, on the thread that answers: must not block.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnAnswer(const Answered& answered) noexcept = 0;
  // A batch of the prepare stage.
  virtual void OnBatch(std::size_t messages) noexcept = 0;
};

}  // namespace hallmark::pipeline
