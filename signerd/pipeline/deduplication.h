#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "firmware/runtime/log.h"
#include "signerd/dkim/sha256.h"
#include "signerd/pipeline/records.h"

namespace hallmark::pipeline {

struct DeduplicationConfig {
  std::chrono::seconds window{600};
  // Answers that are remembered at most, about 110 octets each; the oldest go first, which is counted and told. So many
  // last the window for 833 messages a second. 0: none, as somebody wants it.
  std::size_t entries = 500'000;
};

// Which requests were answered lately or are being answered, by relay and request_id. What was answered stands on the
// ledger; here is only where. A Waiter is a request that came again while the first was under way. Any thread.
template <class Waiter>
class Deduplication {
 public:
  enum class Outcome : std::uint8_t {
    kFirst,     // to be carried out; Finish or Forget must follow. Also what was answered in another way
    kWaits,     // the waiter was kept and comes back from Finish or Forget; its way may be another one
    kAnswered,  // by the records [first, first + count)
    kReused,    // for another message
  };
  struct Found {
    Outcome outcome;
    std::uint64_t first = 0;
    std::uint32_t count = 0;
  };
  using Name = std::array<std::uint8_t, 16>;

  explicit Deduplication(const DeduplicationConfig& config) : config_(config) {}

  static Name NameOf(const std::string& relay, const std::string& request_id) {
    const dkim::Digest digest = dkim::Sha256Of(relay + '\0' + request_id);
    Name name;
    std::copy_n(digest.begin(), name.size(), name.begin());
    return name;
  }

  Found Begin(const Name& name, const Fingerprint& fingerprint, std::chrono::sys_seconds now, Waiter waiter) {
    const std::lock_guard lock(mutex_);
    Expire(now);
    const auto [place, fresh] = entries_.try_emplace(name);
    Entry& entry = place->second;
    const bool same_way = entry.fingerprint.way == fingerprint.way;
    if (!fresh) {
      const bool same =
          entry.fingerprint.asked == fingerprint.asked && (entry.fingerprint.body == fingerprint.body || !same_way);
      if (!same) return {Outcome::kReused};
      if (entry.count == 0) {
        waiters_[name].push_back(std::move(waiter));
        return {Outcome::kWaits};
      }
      if (same_way) return {Outcome::kAnswered, entry.first, entry.count};
    }
    entry = {fingerprint};
    return {Outcome::kFirst};
  }

  // Whether Begin would say something else than kFirst, as far as can be told without the message.
  bool Knows(const Name& name) const {
    const std::lock_guard lock(mutex_);
    return entries_.contains(name);
  }

  // The first attempt was answered; gives who waited for that.
  std::vector<Waiter> Finish(const Name& name, std::uint64_t first, std::uint32_t count, std::chrono::sys_seconds now) {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[name];
    entry.first = first;
    entry.count = count;
    order_.push_back({now, name, first});
    Expire(now);
    return TakeWaiters(name);
  }

  // It failed: the next one is the first again.
  std::vector<Waiter> Forget(const Name& name) {
    const std::lock_guard lock(mutex_);
    entries_.erase(name);
    return TakeWaiters(name);
  }

  // The answer that begins with this record is not given again: the next one is the first. Not where there is another
  // answer by now, or one under way.
  void Drop(const Name& name, std::uint64_t first) {
    const std::lock_guard lock(mutex_);
    EraseAnswer(name, first);
  }

  // What was answered before a restart. In the order of time, before the first Begin.
  void Recall(const Name& name, const Fingerprint& fingerprint, std::uint64_t first, std::uint32_t count,
              std::chrono::sys_seconds when) {
    const std::lock_guard lock(mutex_);
    entries_[name] = {fingerprint, count, first};  // the last answer counts, as it did before
    order_.push_back({when, name, first});
    Expire(when);
  }

  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }

  // Answers that were forgotten before their time, as there were too many.
  std::uint64_t forgotten() const {
    const std::lock_guard lock(mutex_);
    return forgotten_;
  }

 private:
  struct Entry {
    Fingerprint fingerprint;
    std::uint32_t count = 0;  // 0: in flight
    std::uint64_t first = 0;
  };
  struct Answered {
    std::chrono::sys_seconds when;
    Name name;
    std::uint64_t first;
  };
  struct NameHash {
    // noexcept, so that no entry keeps it.
    std::size_t operator()(const Name& name) const noexcept {
      std::size_t hash;
      std::memcpy(&hash, name.data(), sizeof hash);
      return hash;
    }
  };
  // False where there is none that begins with this record.
  bool EraseAnswer(const Name& name, std::uint64_t first) {
    const auto found = entries_.find(name);
    if (found == entries_.end() || found->second.count == 0 || found->second.first != first) return false;
    entries_.erase(found);
    return true;
  }
  void Expire(std::chrono::sys_seconds now) {
    while (!order_.empty() && (order_.size() > config_.entries || order_.front().when + config_.window <= now)) {
      const Answered& oldest = order_.front();
      const bool erased = EraseAnswer(oldest.name, oldest.first);
      if (erased && config_.entries != 0 && oldest.when + config_.window > now) ++forgotten_;
      order_.pop_front();
    }
    if (forgotten_ == told_ || now < told_at_ + kTellEvery) return;
    log::warn(
        "{} answers are forgotten before their {} s are over: a retry of one that was lost is signed again. "
        "ledger.request_ids in hallmark.toml is {}",
        forgotten_ - told_, config_.window.count(), config_.entries);
    told_ = forgotten_;
    told_at_ = now;
  }
  std::vector<Waiter> TakeWaiters(const Name& name) {
    const auto found = waiters_.find(name);
    if (found == waiters_.end()) return {};
    std::vector<Waiter> taken = std::move(found->second);
    waiters_.erase(found);
    return taken;
  }

  static constexpr std::chrono::minutes kTellEvery{1};

  const DeduplicationConfig config_;
  mutable std::mutex mutex_;  // guards all that follows
  std::unordered_map<Name, Entry, NameHash> entries_;
  std::unordered_map<Name, std::vector<Waiter>, NameHash> waiters_;  // of those in flight
  std::deque<Answered> order_;              // the oldest first; also those that another one has taken the place of
  std::uint64_t forgotten_ = 0, told_ = 0;  // before their time; of these the log has
  std::chrono::sys_seconds told_at_{};
};

}  // namespace hallmark::pipeline
