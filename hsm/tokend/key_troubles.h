#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>

#include "firmware/runtime/result.h"

namespace hallmark::tokend {

// Tells trouble of one key from the token's. What fails for one key under one login and again under a later one, while
// others sign, is that key's own: the login, or the module, is not given up for it, which would cost all the others.
// Any thread.
class KeyTroubles {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  enum class Verdict {
    kTokens,  // or it cannot be told yet
    kOwn,
    kOwnFromNow  // the first time in kLasts
  };
  // What a failure counts for that follows such a verdict, without another look at what the others do.
  static constexpr std::chrono::seconds kLasts{30};

  // A key failed under the login of `generation`. `signatures`: how many the token has made so far.
  Verdict Judge(const Bytes& cka_id, std::uint64_t generation, std::uint64_t signatures, TimePoint now) {
    const std::lock_guard lock(mutex_);
    const auto [row, is_new] = failed_.try_emplace(cka_id, Failed{generation, signatures, {}});
    any_ = true;
    Failed& before = row->second;
    if (is_new) return Verdict::kTokens;
    if (now < before.own_until) return Verdict::kOwn;
    if (before.generation < generation && before.signatures < signatures) {
      before = {before.generation, signatures, now + kLasts};
      return Verdict::kOwnFromNow;
    }
    before = {generation, signatures, {}};
    return Verdict::kTokens;
  }

  // The key signed.
  void Forget(const Bytes& cka_id) {
    if (!any_.load(std::memory_order_relaxed)) return;
    const std::lock_guard lock(mutex_);
    failed_.erase(cka_id);
    any_ = !failed_.empty();
  }

 private:
  struct Failed {
    std::uint64_t generation = 0;
    std::uint64_t signatures = 0;  // none of them is of this key
    TimePoint own_until{};
  };
  std::atomic<bool> any_{false};
  std::mutex mutex_;                // guards failed_
  std::map<Bytes, Failed> failed_;  // by CKA_ID; since when they have not signed
};

}  // namespace hallmark::tokend
