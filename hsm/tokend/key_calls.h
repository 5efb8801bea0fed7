#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <variant>

#include "hsm/link/frame.h"
#include "hsm/tokend/keeper.h"

namespace hallmark::tokend {

using KeyCall = std::variant<link::GenerateKey, link::FindKey, link::DestroyKey>;

// Makes, finds and destroys keys, one after the other on a thread of its own, under the keeper's present login. While a
// login is on its way the calls wait. None is tried again: a pair could be made twice.
class KeyCalls {
 public:
  // `on_reply` answers each call once; on the thread of KeyCalls.
  KeyCalls(Keeper& keeper, std::function<void(link::KeyReply)> on_reply);
  ~KeyCalls();

  void Start();
  void Stop();

  // Any thread.
  void Add(KeyCall call);
  // The keeper's state changed.
  void Wake();

 private:
  void Run();
  Result<pkcs11::KeyPair> Answer(const KeyCall& call);
  Error Trouble(const Login& login, const Error& error);

  Keeper& keeper_;
  const std::function<void(link::KeyReply)> on_reply_;
  std::thread thread_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable wake_;
  std::deque<KeyCall> waiting_;
  bool stopping_ = false;
};

}  // namespace hallmark::tokend
