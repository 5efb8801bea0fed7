#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <thread>
#include <variant>
#include <vector>

#include "hsm/link/frame.h"
#include "hsm/tokend/keeper.h"

namespace hallmark::tokend {

// The sessions: N workers, each with one session of its own, take signatures from one queue; one more makes and finds
// keys. All of it under the keeper's present login.
class Signer {
 public:
  // `on_results` and `on_reply` are called on the workers' threads.
  Signer(Keeper& keeper, unsigned sessions, std::function<void(std::vector<link::SignOutcome>)> on_results,
         std::function<void(link::KeyReply)> on_reply);
  ~Signer();

  void Start();
  void Stop();

  // Any thread.
  void Define(const link::DefineKey& key);
  void Sign(link::SignBatch batch);
  void Manage(link::GenerateKey call);
  void Manage(link::FindKey call);

 private:
  struct Task {
    link::SignItem item;
    std::chrono::steady_clock::time_point deadline;
    int attempts = 0;
  };
  // A session and the login it belongs to.
  struct Seat {
    std::shared_ptr<Login> login;
    std::optional<pkcs11::Session> session;
  };
  using KeyCall = std::variant<link::GenerateKey, link::FindKey>;

  void Work();
  void ManageKeys();
  link::SignOutcome SignOne(Seat& seat, Task& task, bool& again);
  Result<Bytes> Attempt(Seat& seat, const link::SignItem& item);
  link::KeyReply Answer(Seat& seat, const KeyCall& call);
  // Makes the seat one of the present login. kTokenDown while there is none.
  Status Sit(Seat& seat, pkcs11::Access access);
  Result<std::shared_ptr<const pkcs11::KeyPair>> KeyFor(Seat& seat, const link::DefineKey& wanted);
  // Decides what a failure means for the seat and for the login.
  void Heed(Seat& seat, const Error& error);

  Keeper& keeper_;
  const unsigned sessions_;
  const std::function<void(std::vector<link::SignOutcome>)> on_results_;
  const std::function<void(link::KeyReply)> on_reply_;
  // Held shared to look for a key, exclusively to make one: SoftHSM 2.6 loses track when both happen at once.
  std::shared_mutex objects_mutex_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable wake_signers_, wake_manager_;
  std::deque<Task> tasks_;
  std::deque<KeyCall> key_calls_;
  std::map<std::uint32_t, link::DefineKey> keys_;  // by key_ref
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace hallmark::tokend
