#include "signerd/keys/schedule.h"

#include <algorithm>

namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;

// Wall clocks jump: no domain is left alone longer than this, whatever its time says.
constexpr std::chrono::seconds kLongest = 1h;

}  // namespace

Schedule::Schedule(Tick tick, const Clock& clock, unsigned threads) : tick_(std::move(tick)), clock_(clock) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

void Schedule::Poke(const std::string& domain) {
  {
    const std::lock_guard lock(mutex_);
    if (running_.contains(domain)) {
      poked_.insert(domain);
      return;
    }
    const auto known = times_.find(domain);
    if (known != times_.end()) due_.erase({known->second, domain});
    const Steady now = std::chrono::steady_clock::now();
    times_[domain] = now;
    due_.emplace(now, domain);
  }
  changed_.notify_one();
}

void Schedule::Halt() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

void Schedule::Stop() {
  Halt();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool Schedule::TakeDue(std::string& domain, Steady& until) {
  const Steady now = std::chrono::steady_clock::now();
  until = now + kLongest;
  if (due_.empty()) return false;
  const auto first = due_.begin();
  if (first->first > now) {
    until = first->first;
    return false;
  }
  domain = first->second;
  due_.erase(first);
  times_.erase(domain);
  running_.insert(domain);
  return true;
}

void Schedule::Work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    std::string domain;
    Steady until;
    if (!TakeDue(domain, until)) {
      changed_.wait_until(lock, until);
      continue;
    }
    lock.unlock();
    const std::chrono::sys_seconds next = tick_(domain);
    const auto wait = std::clamp<std::chrono::seconds>(next - clock_.Now(), 0s, kLongest);
    lock.lock();
    running_.erase(domain);
    const Steady time = std::chrono::steady_clock::now() + (poked_.erase(domain) > 0 ? 0s : wait);
    times_[domain] = time;
    due_.emplace(time, domain);
    changed_.notify_one();
  }
}

}  // namespace hallmark::keys
