#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "firmware/runtime/metrics.h"
#include "firmware/runtime/result.h"
#include "firmware/runtime/secret.h"
#include "signerd/store/store.h"
#include "signerd/watch/settings.h"
#include "signerd/watch/webhook_post.h"

namespace hallmark::watch {

// Tells one HTTP server of each alert, at least once: what is to be sent stands in the store, so a restart sends it. A
// thread of its own sends; nobody waits for it. Each alert is tried for a day from its first attempt in this process,
// with pauses that double up to a quarter of an hour; one that was never tried goes before those that were. The header
// X-Hallmark-Signature has "sha256=" and the HMAC-SHA-256 of the body under the secret.
class Webhook {
 public:
  // kConfigInvalid, kNotFound, kIoFailed: the secret cannot be used. The parts live longer.
  static Result<std::unique_ptr<Webhook>> Start(const WebhookSettings& settings, store::Store& store);

  // There is something to send. Any thread, without waiting.
  void Wake();
  void Write(MetricWriter& out) const;

 private:
  struct Retry {
    unsigned failures = 0;
    std::chrono::steady_clock::time_point first, due;  // attempts
  };
  struct Due {
    std::vector<store::AlertRow> fresh, again;  // never tried by this process, and tried
  };
  Webhook(const WebhookSettings& settings, Url url, SecretString secret, store::Store& store)
      : settings_(settings), url_(std::move(url)), secret_(std::move(secret)), store_(store) {}
  void Run(const std::stop_token& stop);
  void SendWaiting(const std::stop_token& stop);
  Result<Due> FindDue();
  bool Try(const store::AlertRow& alert, const std::stop_token& stop);
  Status Send(const store::AlertRow& alert, const std::stop_token& stop);
  std::chrono::milliseconds PauseAfter(unsigned failures);

  const WebhookSettings settings_;
  const Url url_;
  const SecretString secret_;
  store::Store& store_;
  std::map<std::uint64_t, Retry> retries_;  // of the thread, as is the next
  bool look_again_ = false;                 // some wait, or the store could not be read
  std::minstd_rand random_{std::random_device()()};
  std::atomic<std::uint64_t> delivered_{0}, failed_{0}, given_up_{0}, waiting_count_{0};
  std::mutex mutex_;  // guards woken_
  std::condition_variable_any wake_;
  bool woken_ = true;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace hallmark::watch
