#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "firmware/runtime/clock.h"

namespace hallmark::keys {

// Looks at each domain when it is time: a few threads, so that a slow name server holds up few others, and the token is
// asked for few keys at a time.
class Schedule {
 public:
  // Makes what is due for the domain; gives when to look again. Called from the threads of this, never twice at a time
  // for one domain.
  using Tick = std::function<std::chrono::sys_seconds(const std::string& domain)>;
  static constexpr unsigned kThreads = 4;

  Schedule(Tick tick, const Clock& clock, unsigned threads = kThreads);
  ~Schedule() { Stop(); }

  // Look at the domain soon: it is new, or someone changed it. Any thread.
  void Poke(const std::string& domain);
  // Looks at no other domain from now on.
  void Halt();
  // That, and waits for what is being done. Safe to repeat.
  void Stop();

 private:
  using Steady = std::chrono::steady_clock::time_point;
  void Work();
  // Under mutex_: the domain that is due first and is not being looked at; `until` where none is due yet.
  bool TakeDue(std::string& domain, Steady& until);

  const Tick tick_;
  const Clock& clock_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  bool stopping_ = false;
  std::set<std::pair<Steady, std::string>> due_;
  std::map<std::string, Steady> times_;    // the same, by domain
  std::set<std::string> running_, poked_;  // poked_: while it was being looked at
  std::vector<std::thread> threads_;
};

}  // namespace hallmark::keys
