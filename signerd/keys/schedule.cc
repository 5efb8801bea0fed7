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
    threads_.emplace_back([this, share = ShareOf(i, threads)] { Work(share); });
  }
}

Schedule::Share Schedule::ShareOf(unsigned thread, unsigned threads) {
  if (thread + 1 == threads) return threads > 2 ? Share::kOthersFirst : Share::kAll;
  if (thread == 0) return Share::kAsked;
  return thread == 1 ? Share::kUrgent : Share::kAll;
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

std::optional<Schedule::Taken> Schedule::TakeFrom(Queued& queue, Time until) {
  if (queue.empty() || queue.begin()->first > until) return std::nullopt;
  Taken taken{queue.begin()->second, &queue == &urgent_};
  queue.erase(queue.begin());
  looks_.erase(taken.domain);
  running_.insert(taken.domain);
  return taken;
}

std::optional<Schedule::Taken> Schedule::TakeDue(Time now, Share share) {
  // What somebody asked for is the first of what is urgent, and everybody's.
  auto taken = TakeFrom(urgent_, kAtOnce);
  if (!taken && share == Share::kOthersFirst) taken = TakeFrom(due_, now);
  if (!taken && share != Share::kAsked) taken = TakeFrom(urgent_, now);
  if (!taken && share == Share::kAll) taken = TakeFrom(due_, now);
  return taken;
}

std::chrono::seconds Schedule::Wait(Time now, Share share) const {
  std::chrono::seconds wait = kClockLook;
  if (!urgent_.empty() && share != Share::kAsked) wait = std::min(wait, urgent_.begin()->first - now);
  if (!due_.empty() && (share == Share::kAll || share == Share::kOthersFirst))
    wait = std::min(wait, due_.begin()->first - now);
  return wait;
}

void Schedule::Work(Share share) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Time now = clock_.Now();
    NoticeClock(now);
    const auto taken = TakeDue(now, share);
    if (!taken) {
      changed_.wait_for(lock, Wait(now, share));
      continue;
    }
    const std::uint64_t turns = turns_;
    lock.unlock();
    NextLook next = tick_(taken->domain);
    lock.lock();
    running_.erase(taken->domain);
    if (next.failed) next.urgent = taken->urgent;
    // By the clock as it was before: it may be long in coming.
    if (turns != turns_) next.time = std::min(next.time, clock_.Now());
    const auto asked = asked_.extract(taken->domain);
    Put(taken->domain, asked ? Both(asked.mapped(), next) : next);
    changed_.notify_all();
  }
}

}  // namespace hallmark::keys
