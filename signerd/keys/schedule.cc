#include "signerd/keys/schedule.h"

#include <algorithm>

namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;

// How often the wall clock is looked at, which may jump.
constexpr std::chrono::seconds kClockLook = 10s;
constexpr std::chrono::seconds kClockNoise = 60s;

}  // namespace

Schedule::Schedule(Tick tick, const Clock& clock, unsigned threads) : tick_(std::move(tick)), clock_(clock) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

void Schedule::Put(const std::string& domain, Time time) {
  const auto known = times_.find(domain);
  if (known != times_.end()) due_.erase({known->second, domain});
  times_[domain] = time;
  due_.emplace(time, domain);
}

void Schedule::Poke(const std::string& domain) {
  {
    const std::lock_guard lock(mutex_);
    if (running_.contains(domain)) {
      poked_.insert(domain);
      return;
    }
    Put(domain, clock_.Now());
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

void Schedule::NoticeClock(Time now) {
  if (now + kClockNoise < latest_) {
    due_.clear();
    for (auto& [domain, time] : times_) {
      time = now;
      due_.emplace(now, domain);
    }
  }
  latest_ = now;
}

std::optional<std::string> Schedule::TakeDue(Time now) {
  if (due_.empty() || due_.begin()->first > now) return std::nullopt;
  std::string domain = due_.begin()->second;
  due_.erase(due_.begin());
  times_.erase(domain);
  running_.insert(domain);
  return domain;
}

void Schedule::Work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Time now = clock_.Now();
    NoticeClock(now);
    const auto domain = TakeDue(now);
    if (!domain) {
      const auto wait = due_.empty() ? kClockLook : std::min(due_.begin()->first - now, kClockLook);
      changed_.wait_for(lock, wait);
      continue;
    }
    lock.unlock();
    const Time next = tick_(*domain);
    lock.lock();
    running_.erase(*domain);
    Put(*domain, poked_.erase(*domain) > 0 ? clock_.Now() : next);
    changed_.notify_one();
  }
}

}  // namespace hallmark::keys
