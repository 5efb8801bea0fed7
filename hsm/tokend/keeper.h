#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>

#include "firmware/runtime/result.h"
#include "hsm/link/frame.h"
#include "hsm/pkcs11/module.h"
#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"

namespace hallmark::tokend {

// One login at the token. Workers open their sessions and find their keys under it; when it is replaced, both are made
// again. The keys found under it are remembered here.
struct Login {
  Login(const pkcs11::Module& on, pkcs11::TokenInfo info, pkcs11::Session first, std::uint64_t number)
      : module(on), token(std::move(info)), session(std::move(first)), generation(number) {}
  const pkcs11::Module& module;
  const pkcs11::TokenInfo token;
  pkcs11::Session session;  // stays open and unused: closing an application's last session logs it out
  const std::uint64_t generation;
  std::mutex keys_mutex;  // guards keys
  std::map<Bytes, std::shared_ptr<const pkcs11::KeyPair>> keys;  // by CKA_ID, compared with the recorded public part
};

// Brings the token up, and back up: loads the module, finds the token, logs in once, and recovers what workers report.
// A thread of its own does all of it. The PIN is read from its file for each login and wiped after it.
class Keeper {
 public:
  struct Config {
    std::filesystem::path module;
    std::string uri;
    unsigned sessions = 1;
  };
  // `on_status` is called on the keeper's thread whenever the state changes.
  Keeper(Config config, pkcs11::TokenUri uri, std::function<void(const link::TokenStatus&)> on_status);
  ~Keeper();

  void Start();
  void Stop();

  // Held shared by whoever calls the module, so that it is never finalized under a call. Never held while waiting.
  std::shared_mutex& module_mutex() { return module_mutex_; }
  // The present login; null while there is none. Call with module_mutex() held shared.
  std::shared_ptr<Login> login() const;
  // A call under `generation` failed in a way that one session cannot mend. Any thread; only the first report of a
  // generation counts.
  void Report(std::uint64_t generation, pkcs11::Recovery recovery, const Error& error);
  // Whether a login is on its way, so that it is worth to wait a moment.
  bool starting() const;
  // What a request that finds no login is answered.
  link::Outcome OutcomeWithoutLogin() const;

 private:
  void Run();
  // Each returns how long to wait before the next look.
  std::chrono::milliseconds BringUp();
  std::chrono::milliseconds LookAfter();
  Status LoadAndInitialize();
  Status LogIn(const pkcs11::TokenInfo& token);
  void DropLogin(bool finalize);
  void Tell(link::TokenState state, const Error& error);
  void TellReady(const pkcs11::TokenInfo& token);

  const Config config_;
  const pkcs11::TokenUri uri_;
  const std::function<void(const link::TokenStatus&)> on_status_;
  std::unique_ptr<pkcs11::Module> module_;
  bool initialized_ = false;
  std::chrono::steady_clock::time_point last_reinitialization_{};
  std::uint64_t generation_ = 0;
  Bytes refused_pin_;  // SHA-256 of the PIN that was refused; empty where none was
  link::TokenStatus status_;

  std::shared_mutex module_mutex_;
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable wake_;
  std::shared_ptr<Login> login_;
  link::TokenState state_ = link::TokenState::kStarting;
  struct Trouble {
    pkcs11::Recovery recovery;
    Error error;
  };
  std::optional<Trouble> trouble_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace hallmark::tokend
