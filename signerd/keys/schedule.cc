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
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([this, only_at_once = i == 0 && threads > 1] { Work(only_at_once); });
  }
}

void Schedule::Put(const std::string& domain, Time time) {
  const auto known = times_.find(domain);
  if (known != times_.end()) due_.erase({known->second, domain});
  times_[domain] = time;
  due_.emplace(time, domain);
}

void Schedule::LookAt(const std::string& domain, Time time) {
  {
    const std::lock_guard lock(mutex_);
    if (running_.contains(domain)) {
      const auto asked = asked_.emplace(domain, time).first;
      asked->second = std::min(asked->second, time);
      return;
    }
    const auto known = times_.find(domain);
    Put(domain, known == times_.end() ? time : std::min(known->second, time));
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
    due_.clear();
    for (auto& [domain, time] : times_) {
      time = std::min(time, now);
      due_.emplace(time, domain);
    }
  }
  latest_ = now;
}

std::optional<std::string> Schedule::TakeDue(Time now, bool only_at_once) {
  if (due_.empty() || due_.begin()->first > (only_at_once ? kAtOnce : now)) return std::nullopt;
  std::string domain = due_.begin()->second;
  due_.erase(due_.begin());
  times_.erase(domain);
  running_.insert(domain);
  return domain;
}

void Schedule::Work(bool only_at_once) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Time now = clock_.Now();
    NoticeClock(now);
    const auto domain = TakeDue(now, only_at_once);
    if (!domain) {
      const auto wait = due_.empty() || only_at_once ? kClockLook : std::min(due_.begin()->first - now, kClockLook);
      changed_.wait_for(lock, wait);
      continue;
    }
    const std::uint64_t turns = turns_;
    lock.unlock();
    Time next = tick_(*domain);
    lock.lock();
    running_.erase(*domain);
    // By the clock as it was before: it may be long in coming.
    if (turns != turns_) next = std::min(next, clock_.Now());
    const auto asked = asked_.extract(*domain);
    Put(*domain, asked ? std::min(asked.mapped(), next) : next);
    changed_.notify_all();
  }
}

}  // namespace hallmark::keys
