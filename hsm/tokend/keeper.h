#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "firmware/runtime/result.h"
#include "firmware/runtime/secret.h"
#include "hsm/link/frame.h"
#include "hsm/pkcs11/module.h"
#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"
#include "hsm/tokend/module_gate.h"
#include "hsm/tokend/softhsm_files.h"
#include "hsm/tokend/step_clock.h"

namespace hallmark::tokend {

// A key that is looked for once under a login, however many sessions want it at the same time.
struct SoughtKey {
  Bytes spki;  // the recorded public part, which it is compared with
  std::shared_future<Result<std::shared_ptr<const pkcs11::KeyPair>>> found;
};

// One login at the token. Workers open their sessions and find their keys under it; when it is replaced, both are made
// again. The keys found under it are remembered here.
struct Login {
  Login(const pkcs11::Module& on, pkcs11::TokenInfo info, pkcs11::Session first, bool is_only, std::uint64_t number)
      : module(on), token(std::move(info)), session(std::move(first)), only(is_only), generation(number) {}
  const pkcs11::Module& module;
  const pkcs11::TokenInfo token;
  pkcs11::Session session;  // stays open: closing an application's last session logs it out
  // The token (a smartcard) has no sessions to spare: the one worker uses `session`, and whoever else does so is alone
  // in the module (gate()).
  const bool only;
  std::atomic<unsigned> seats{0};  // workers that have a session under it
  const std::uint64_t generation;
  std::mutex keys_mutex;  // guards what follows
  // By CKA_ID. What is looked for, and what was found; no search that failed.
  std::map<Bytes, std::shared_ptr<const SoughtKey>> keys;
  std::set<Bytes> told;  // that do not match, as the log says
};

// Brings the token up, and back up: loads the module, finds the token, logs in once, and recovers from what workers
// report. A thread of its own does all of it. The PIN is read from its file for each login and wiped after it; one
// that was refused stays, locked, to be known again.
//
// Recovery has four levels. The worker replaces its session (1). Trouble that is reported here costs the login (2) or
// the module, which is initialized again at most once in `between_restarts` (3). A token that stays in trouble is down
// (4): everything is refused at once, and tried again about every second, less often when only the login succeeds, or
// when it fails in a way that may have been a try of the PIN.
class Keeper {
 public:
  struct Config {
    std::filesystem::path module;
    std::string uri;
    unsigned sessions = 1;
    std::chrono::seconds between_restarts{30};
    std::chrono::seconds longest_step{30};  // what bringing the token up, a look at it or a key call may take
  };
  struct Callbacks {
    std::function<void(const link::TokenStatus&)> on_status;  // whenever it changes; on the keeper's thread
    std::function<void()> on_state;                           // state() or sessions() changed; any thread
    std::function<void()> on_hopeless;  // only a new process may bring the token back; on the keeper's thread
  };
  Keeper(Config config, pkcs11::TokenUri uri);
  ~Keeper();

  // Once.
  void Start(Callbacks callbacks);
  void Stop();

  // Held shared by whoever calls the module, exclusively by whoever must be alone in it. Never held while waiting.
  ModuleGate& gate() { return gate_; }
  // The present login; null while there is none. What it refers to is good as long as gate() is held.
  std::shared_ptr<Login> login() const;
  // kStarting: a login is on its way and worth waiting for. Any thread.
  link::TokenState state() const { return state_; }
  // How many sessions workers may open. Any thread.
  unsigned sessions() const { return sessions_; }

  // A call under `generation` failed in a way that another session does not mend. Any thread; only the first report of
  // a generation counts.
  void Report(std::uint64_t generation, pkcs11::Recovery recovery, const Error& error);
  // The token signed: it is well. Any thread.
  void Prove() {
    if (troubles_.load(std::memory_order_relaxed) != 0) troubles_ = 0;
    signatures_.fetch_add(1, std::memory_order_relaxed);
  }
  // Where the token is files: what was written since then is on the disk. Any thread.
  Status Sync(std::filesystem::file_time_type since) const { return files_.Sync(since); }
  // Whether the keeper is in a call of the module that has not come back for too long. A call cannot be cancelled, so
  // that only a new process helps. Any thread.
  bool Hangs() const { return !making_ && step_.Hangs(); }
  // While it lives a key is made, which may take minutes, and many tokens do one thing at a time: the keeper does not
  // look at the token, and does not hang where it waits for it. One at a time, on the thread of key calls.
  class Making {
   public:
    explicit Making(Keeper& keeper) : keeper_(keeper) { keeper_.making_ = true; }
    Making(const Making&) = delete;
    Making& operator=(const Making&) = delete;
    ~Making() {
      keeper_.step_.BeginAnew(keeper_.config_.longest_step);
      keeper_.making_ = false;
    }

   private:
    Keeper& keeper_;
  };
  // What a key call may take that makes no key. Any thread.
  std::chrono::seconds longest_step() const { return config_.longest_step; }
  // How many it made since the start. Any thread.
  std::uint64_t signatures() const { return signatures_.load(std::memory_order_relaxed); }

 private:
  struct Trouble {
    pkcs11::Recovery recovery;
    Error error;
  };
  using Pause = std::chrono::milliseconds;

  void Run();
  // Each returns how long to wait before the next look.
  Pause Recover(const Trouble& trouble);
  Pause BringUp();
  Pause LookAfter();
  Pause FailToBringUp(const Error& error);
  Status LoadAndInitialize();
  Status LogIn(const pkcs11::TokenInfo& token);
  // Of a C_Login that failed with this PIN.
  Error Refused(Error error, SecretString pin);
  Status CheckLogin(Login& present);
  bool MayRestart() const;
  // Waits for the module: a key that is made may take minutes, and the keeper does not hang for that.
  template <class Lock>
  void Enter(Lock& lock);
  void DropLogin();
  void Finalize();
  void Tell(link::TokenState state, const Error& error);
  void TellReady(const pkcs11::TokenInfo& token);

  const Config config_;
  const pkcs11::TokenUri uri_;
  const SoftHsmFiles files_;
  Callbacks callbacks_;

  // Of the keeper's thread.
  std::unique_ptr<pkcs11::Module> module_;
  bool initialized_ = false, was_initialized_ = false;
  unsigned vain_initializations_ = 0;  // in a row
  unsigned vain_openings_ = 0;         // of the first session, in a row
  unsigned vain_logins_ = 0;           // that failed without a word about what is wrong, in a row
  unsigned unknown_codes_ = 0;         // of logins, in a row
  bool needs_restart_ = false;
  std::optional<std::chrono::steady_clock::time_point> last_restart_;
  std::optional<CK_SLOT_ID> slot_;  // where sessions of ours are open
  std::uint64_t generation_ = 0;
  std::optional<SecretString> refused_pin_;       // it is not tried again
  std::filesystem::file_time_type refused_file_;  // the age of the last file that had it
  link::TokenStatus status_;

  ModuleGate gate_;
  std::atomic<link::TokenState> state_{link::TokenState::kStarting};
  std::atomic<unsigned> sessions_{0};
  std::atomic<unsigned> troubles_{0};  // since the last signature
  std::atomic<std::uint64_t> signatures_{0};
  std::atomic<bool> making_{false};
  StepClock step_;            // of the keeper's thread; not while it waits, for a worker too
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable wake_;
  std::shared_ptr<Login> login_;
  std::optional<Trouble> trouble_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace hallmark::tokend
