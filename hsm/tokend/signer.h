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
#include <variant>
#include <vector>

#include "hsm/link/frame.h"
#include "hsm/tokend/keeper.h"

namespace hallmark::tokend {

// The sessions: N workers, each with one session of its own, take signatures from one queue; one more thread makes and
// finds keys. All of it under the keeper's present login. While a login is on its way, both queues wait; while the
// token is down, all is refused at once.
class Signer {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Callbacks {
    std::function<void(std::vector<link::SignOutcome>)> on_results;  // any thread
    std::function<void(link::KeyReply)> on_reply;                    // any thread
  };
  Signer(Keeper& keeper, unsigned sessions, Callbacks callbacks);
  ~Signer();

  void Start();
  void Stop();

  // Any thread.
  void Define(const link::DefineKey& key);
  void Sign(link::SignBatch batch);
  void Manage(link::GenerateKey call);
  void Manage(link::FindKey call);
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

    pkcs11::Session& current() { return session ? *session : login->session; }
  };
  struct Worker {
    std::thread thread;
    std::condition_variable wake;
    bool woken = false;
  };
  using KeyCall = std::variant<link::GenerateKey, link::FindKey>;

  void Work(unsigned index);
  // What the worker does next; nothing when it is to end.
  std::optional<Task> Take(unsigned index);
  // These two: under mutex_.
  bool MayWork(unsigned index) const;
  void WakeSome();
  void ManageKeys();
  // Nothing when the task should be tried again.
  std::optional<link::SignOutcome> SignOne(Seat& seat, Task& task);
  std::optional<link::SignOutcome> Fail(Seat& seat, Task& task, const Error& error);
  Result<Bytes> Attempt(Seat& seat, const Task& task);
  // Makes the seat one of the present login.
  Status Sit(Seat& seat);
  Result<std::shared_ptr<const pkcs11::KeyPair>> KeyFor(Seat& seat, const link::DefineKey& wanted);
  Result<pkcs11::KeyPair> Answer(const KeyCall& call);
  Error Trouble(const Login& login, const Error& error);

  Keeper& keeper_;
  const unsigned sessions_;
  const Callbacks callbacks_;
  std::mutex mutex_;            // guards everything below
  std::deque<Worker> workers_;  // by index
  std::vector<unsigned> idle_;  // the workers that wait for a task, the latest last
  unsigned waking_ = 0;         // of those woken, how many do not run yet
  std::condition_variable wake_manager_;
  std::thread manager_;
  std::deque<Task> tasks_;
  std::deque<KeyCall> key_calls_;
  std::map<std::uint32_t, std::shared_ptr<const link::DefineKey>> keys_;  // by key_ref
  bool stopping_ = false;
};

}  // namespace hallmark::tokend
