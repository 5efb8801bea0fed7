#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace hallmark::keys {

// One at a time may work on a domain's keys: a step of the rotation, or an operator's act. Any thread.
class DomainLocks {
 public:
  // Held, after the domain's lock, from the look who else has a pair until it is destroyed, and from the look whether a
  // pair is there until it is adopted: domains may share one.
  std::timed_mutex pairs;

  class Guard {
   public:
    Guard(Guard&& other) noexcept : locks_(std::exchange(other.locks_, nullptr)), domain_(std::move(other.domain_)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (locks_ != nullptr) locks_->Release(domain_);
    }

   private:
    friend class DomainLocks;
    Guard(DomainLocks* locks, std::string domain) : locks_(locks), domain_(std::move(domain)) {}
    DomainLocks* locks_;
    std::string domain_;
  };

  // Nothing when the domain is still being worked on after `wait`.
  std::optional<Guard> Acquire(const std::string& domain, std::chrono::milliseconds wait) {
    std::unique_lock lock(mutex_);
    if (!freed_.wait_for(lock, wait, [&] { return !busy_.contains(domain); })) return std::nullopt;
    busy_.insert(domain);
    return Guard(this, domain);
  }

 private:
  void Release(const std::string& domain) {
    {
      const std::lock_guard lock(mutex_);
      busy_.erase(domain);
    }
    freed_.notify_all();
  }

  std::mutex mutex_;  // guards busy_
  std::condition_variable freed_;
  std::set<std::string> busy_;
};

}  // namespace hallmark::keys
