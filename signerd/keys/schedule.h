#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "firmware/runtime/clock.h"
#include "signerd/keys/next_look.h"

namespace hallmark::keys {

// Looks at each domain when it is time: a few threads, so that a slow name server holds up few others, and the token is
// asked for few keys at a time. What somebody asks for goes before what is urgent, and that before all else that is
// due. One of the threads takes only what somebody asked for, and one only that and what is urgent: name servers that
// do not answer hold up no emergency, those of another emergency neither. And one takes what is urgent only where
// nothing else is due: what stays urgent for long, because its name servers are silent, holds up no other domain.
class Schedule {
 public:
  // Makes what is due for the domain. Called from the threads of this, never twice at a time for one domain.
  using Tick = std::function<NextLook(const std::string& domain)>;
  static constexpr unsigned kThreads = 4;

  // Of two one takes only what somebody asked for, of three one also what is urgent. With one thread alone it does
  // everything.
  Schedule(Tick tick, const Clock& clock, unsigned threads = kThreads);
  ~Schedule() { Stop(); }

  // Look at the domain at once: somebody changed it. Any thread.
  void Poke(const std::string& domain) { LookAt(domain, {kAtOnce, true}); }
  // Look at it when those that were due before are done: one of many. Any thread.
  void Queue(const std::string& domain) { LookAt(domain, {clock_.Now()}); }
  // The same, of those that are urgent: nobody asked just now.
  void QueueUrgent(const std::string& domain) { LookAt(domain, {clock_.Now(), true}); }
  // Looks at no other domain from now on.
  void Halt();
  // That, and waits for what is being done. Safe to repeat.
  void Stop();

 private:
  using Time = std::chrono::sys_seconds;
  static constexpr Time kAtOnce{};  // before every time that a clock gives
  using Queued = std::set<std::pair<Time, std::string>>;
  void LookAt(const std::string& domain, NextLook look);
  // What a thread takes.
  enum class Share : std::uint8_t { kAsked, kUrgent, kAll, kOthersFirst };
  struct Taken {
    std::string domain;
    bool urgent;
  };
  static Share ShareOf(unsigned thread, unsigned threads);
  void Work(Share share);
  // These five: under mutex_.
  Queued& QueueOf(const NextLook& look) { return look.urgent ? urgent_ : due_; }
  void Put(const std::string& domain, NextLook look);
  // Where the clock went back every domain is due: its time is one that may be long in coming.
  void NoticeClock(Time now);
  // The first of the queue that is due until then; nothing where none is.
  std::optional<Taken> TakeFrom(Queued& queue, Time until);
  // The domain that is due first of those that the thread takes; nothing where none is.
  std::optional<Taken> TakeDue(Time now, Share share);
  // How long until one is.
  std::chrono::seconds Wait(Time now, Share share) const;

  const Tick tick_;
  const Clock& clock_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  bool stopping_ = false;
  Time latest_{};            // that the clock gave
  std::uint64_t turns_ = 0;  // how often the clock went back
  Queued urgent_, due_;
  std::map<std::string, NextLook> looks_;  // the same, by domain
  std::set<std::string> running_;
  std::map<std::string, NextLook> asked_;  // while it was being looked at
  std::vector<std::thread> threads_;
};

}  // namespace hallmark::keys
