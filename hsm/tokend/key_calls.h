#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <variant>

#include "hsm/link/frame.h"
#include "hsm/tokend/importer.h"
#include "hsm/tokend/keeper.h"

namespace hallmark::tokend {

using KeyCall = std::variant<link::GenerateKey, link::FindKey, link::DestroyKey, link::BeginImport, link::ImportKey>;

// Makes, finds, imports and destroys keys, one after the other on a thread of its own, under the keeper's present
// login. While a login is on its way the calls wait. None is tried again: a pair could be made twice.
class KeyCalls {
 public:
  struct Callbacks {
    std::function<void(link::KeyCallBegun)> on_begun;  // signatures may have to wait for it; not of every call
    std::function<void(link::KeyReply)> on_reply;      // answers each call once
  };
  // Called back on the thread of KeyCalls, or within Add().
  KeyCalls(Keeper& keeper, Callbacks callbacks);
  ~KeyCalls();

  void Start();
  void Stop();

  // What is too long, or one too many, is answered at once. Any thread.
  void Add(KeyCall call);
  // The keeper's state changed.
  void Wake();
  // Whether a call is in the module that has not come back for too long; see Keeper::Hangs(). Any thread.
  bool Hangs() const { return step_.Hangs(); }
  // Whether one waits or is under way. Any thread.
  bool Busy() const;

 private:
  void Run();
  // Under mutex_: the next call that may be made now.
  std::optional<KeyCall> Take();
  // Under mutex_: whether the pause is over, or little was signed in it.
  bool MayMake() const;
  // Makes no pair for so long, where there is much to sign.
  void PauseMaking(std::chrono::steady_clock::duration length);
  // The session of its calls, and the login it belongs to. Kept while keys are wrapped for a pair that lives in it.
  struct Seat {
    std::shared_ptr<Login> login;
    std::optional<pkcs11::Session> session;  // none where the login's is the only one

    pkcs11::Session& current() { return session ? *session : login->session; }
  };

  Result<pkcs11::KeyPair> Answer(const KeyCall& call);
  Result<pkcs11::KeyPair> MakeBesideSigning(const link::GenerateKey& call, const std::shared_ptr<Login>& login);
  Status Sit(const std::shared_ptr<Login>& login, pkcs11::Access access);
  void Rise();
  Result<pkcs11::KeyPair> Do(const link::GenerateKey& call);
  Result<pkcs11::KeyPair> Do(const link::FindKey& call);
  Result<pkcs11::KeyPair> Do(const link::DestroyKey& call);
  Result<pkcs11::KeyPair> Do(const link::BeginImport& call);
  Result<pkcs11::KeyPair> Do(const link::ImportKey& call);
  Error Trouble(const Login& login, const Error& error);

  Keeper& keeper_;
  const Callbacks callbacks_;
  std::thread thread_;
  StepClock step_;  // of the thread, while it holds keeper_.gate()
  // These two: of the thread, and only while it holds keeper_.gate().
  Seat seat_;
  Importer importer_;
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable wake_;
  std::deque<KeyCall> waiting_;
  bool under_way_ = false;
  struct Pause {
    std::chrono::steady_clock::time_point begun{};
    std::chrono::steady_clock::duration length{};
    std::uint64_t signatures = 0;  // made before it
  } pause_;
  bool stopping_ = false;
};

}  // namespace hallmark::tokend
