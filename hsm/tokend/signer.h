#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "hsm/link/frame.h"
#include "hsm/tokend/keeper.h"
#include "hsm/tokend/key_troubles.h"

namespace hallmark::tokend {

// The sessions: N workers, each with one session of its own, take signatures from one queue, under the keeper's present
// login. While a login is on its way the queue waits; while the token is down, all is refused at once.
class Signer {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // Any thread.
  using OnResults = std::function<void(std::vector<link::SignOutcome>)>;
  Signer(Keeper& keeper, unsigned sessions, OnResults on_results);
  ~Signer();

  void Start();
  void Stop();

  // Any thread.
  void Define(const link::DefineKey& key);
  void Sign(link::SignBatch batch);
  // The keeper's state changed.
  void Wake();
  // Answers what waited too long, even when every session hangs. Gives when the next of those waiting expires.
  std::optional<TimePoint> Expire(TimePoint now);

 private:
  struct Task {
    link::SignItem item;
    TimePoint deadline;
    std::shared_ptr<const link::DefineKey> key;  // null where it was not defined
    int attempts = 0;
  };
  // A session and the login it belongs to.
  struct Seat {
    std::shared_ptr<Login> login;
    std::optional<pkcs11::Session> session;  // none where the login's is the only one
    bool without_room = false;               // the token had no room for a session, and others work

    Seat() = default;
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    // Closes the session.
    void Rise() {
      if (session) --login->seats;
      session.reset();
    }
    pkcs11::Session& current() { return session ? *session : login->session; }
  };
  struct Worker {
    std::thread thread;
    std::condition_variable wake;
    bool woken = false;
    TimePoint stands_until{};  // it found no room for a session, and leaves the work to those that have one
  };

  void Work(unsigned index);
  // What the worker does next; nothing when it is to end.
  std::optional<Task> Take(unsigned index);
  // These two: under mutex_.
  bool MayWork(unsigned index) const;
  void WakeSome();
  // Nothing when the task should be tried again.
  std::optional<link::SignOutcome> SignOne(Seat& seat, Task& task);
  std::optional<link::SignOutcome> Fail(Seat& seat, Task& task, const Error& error);
  std::optional<link::SignOutcome> FailToSign(Seat& seat, Task& task, const Error& error);
  Result<link::SignOutcome> Attempt(Seat& seat, const Task& task);
  // Makes the seat one of the present login.
  Status Sit(Seat& seat);
  using FoundKey = Result<std::shared_ptr<const pkcs11::KeyPair>>;
  // Waits where another session looks for it already.
  FoundKey KeyFor(Seat& seat, const link::DefineKey& wanted);
  static FoundKey FindKey(pkcs11::Session& session, const link::DefineKey& wanted);

  Keeper& keeper_;
  const unsigned sessions_;
  const OnResults on_results_;
  KeyTroubles key_troubles_;
  std::mutex mutex_;            // guards everything below
  std::deque<Worker> workers_;  // by index
  std::vector<unsigned> idle_;  // the workers that wait for a task, the latest last
  unsigned waking_ = 0;         // of those woken, how many do not run yet
  std::deque<Task> tasks_;
  std::map<std::uint32_t, std::shared_ptr<const link::DefineKey>> keys_;  // by key_ref
  bool stopping_ = false;
};

}  // namespace hallmark::tokend
