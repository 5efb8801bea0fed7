#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "firmware/runtime/clock.h"

namespace hallmark::keys {

// Looks at each domain when it is time: a few threads, so that a slow name server holds up few others, and the token is
// asked for few keys at a time. What somebody asks for goes before all that is due, and one of the threads waits for
// nothing else: name servers that do not answer hold up no emergency.
class Schedule {
 public:
  // Makes what is due for the domain; gives when to look again. Called from the threads of this, never twice at a time
  // for one domain.
  using Tick = std::function<std::chrono::sys_seconds(const std::string& domain)>;
  static constexpr unsigned kThreads = 4;

  // With one thread alone it does everything.
  Schedule(Tick tick, const Clock& clock, unsigned threads = kThreads);
  ~Schedule() { Stop(); }

  // Look at the domain at once: somebody changed it. Any thread.
  void Poke(const std::string& domain) { LookAt(domain, kAtOnce); }
  // Look at it when those that were due before are done: one of many. Any thread.
  void Queue(const std::string& domain) { LookAt(domain, clock_.Now()); }
  // Looks at no other domain from now on.
  void Halt();
  // That, and waits for what is being done. Safe to repeat.
  void Stop();

 private:
  using Time = std::chrono::sys_seconds;
  static constexpr Time kAtOnce{};  // before every time that a clock gives
  void LookAt(const std::string& domain, Time time);
  void Work(bool only_at_once);
  // These three: under mutex_.
  void Put(const std::string& domain, Time time);
  // Where the clock went back every domain is due: its time is one that may be long in coming.
  void NoticeClock(Time now);
  // The domain that is due first, or, for a thread that does only these, at once; nothing where none is.
  std::optional<std::string> TakeDue(Time now, bool only_at_once);

  const Tick tick_;
  const Clock& clock_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  bool stopping_ = false;
  Time latest_{};            // that the clock gave
  std::uint64_t turns_ = 0;  // how often the clock went back
  std::set<std::pair<Time, std::string>> due_;
  std::map<std::string, Time> times_;  // the same, by domain
  std::set<std::string> running_;
  std::map<std::string, Time> asked_;  // while it was being looked at: for when
  std::vector<std::thread> threads_;
};

}  // namespace hallmark::keys
