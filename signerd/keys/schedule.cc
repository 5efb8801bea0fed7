#include "signerd/keys/schedule.h"

#include <algorithm>

namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;

// How often the wall clock is looked at, which may jump.
constexpr std::chrono::seconds kClockLook = 10s;
constexpr std::chrono::seconds kClockNoise = 60s;

NextLook Both(const NextLook& a, const NextLook& b) { return {std::min(a.time, b.time), a.urgent || b.urgent}; }

}  // namespace

Schedule::Schedule(Tick tick, const Clock& clock, unsigned threads) : tick_(std::move(tick)), clock_(clock) {
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([this, only_urgent = i == 0 && threads > 1] { Work(only_urgent); });
  }
}

void Schedule::Put(const std::string& domain, NextLook look) {
  const auto known = looks_.find(domain);
  if (known != looks_.end()) QueueOf(known->second).erase({known->second.time, domain});
  looks_[domain] = look;
  QueueOf(look).emplace(look.time, domain);
}

void Schedule::LookAt(const std::string& domain, NextLook look) {
  {
    const std::lock_guard lock(mutex_);
    if (running_.contains(domain)) {
      const auto asked = asked_.emplace(domain, look).first;
      asked->second = Both(asked->second, look);
      return;
    }
    const auto known = looks_.find(domain);
    Put(domain, known == looks_.end() ? look : Both(known->second, look));
  }
  changed_.notify_all();  // one alone may be the thread that does not take it
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
    ++turns_;
    urgent_.clear();
    due_.clear();
    for (auto& [domain, look] : looks_) {
      look.time = std::min(look.time, now);
      QueueOf(look).emplace(look.time, domain);
    }
  }
  latest_ = now;
}

std::optional<std::string> Schedule::TakeDue(Time now, bool only_urgent) {
  for (Queued* queue : {&urgent_, &due_}) {
    if (queue->empty() || queue->begin()->first > now || (only_urgent && queue == &due_)) continue;
    std::string domain = queue->begin()->second;
    queue->erase(queue->begin());
    looks_.erase(domain);
    running_.insert(domain);
    return domain;
  }
  return std::nullopt;
}

std::chrono::seconds Schedule::Wait(Time now, bool only_urgent) const {
  std::chrono::seconds wait = kClockLook;
  if (!urgent_.empty()) wait = std::min(wait, urgent_.begin()->first - now);
  if (!due_.empty() && !only_urgent) wait = std::min(wait, due_.begin()->first - now);
  return wait;
}

void Schedule::Work(bool only_urgent) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Time now = clock_.Now();
    NoticeClock(now);
    const auto domain = TakeDue(now, only_urgent);
    if (!domain) {
      changed_.wait_for(lock, Wait(now, only_urgent));
      continue;
    }
    const std::uint64_t turns = turns_;
    lock.unlock();
    NextLook next = tick_(*domain);
    lock.lock();
    running_.erase(*domain);
    // By the clock as it was before: it may be long in coming.
    if (turns != turns_) next.time = std::min(next.time, clock_.Now());
    const auto asked = asked_.extract(*domain);
    Put(*domain, asked ? Both(asked.mapped(), next) : next);
    changed_.notify_all();
  }
}

}  // namespace hallmark::keys
