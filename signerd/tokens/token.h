#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "firmware/runtime/result.h"
#include "hsm/link/channel.h"
#include "hsm/link/frame.h"
#include "signerd/dkim/signature.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/tokens/fair_queue.h"
#include "signerd/tokens/pace.h"
#include "signerd/tokens/process.h"
#include "signerd/tokens/token_config.h"

namespace hallmark::tokens {

using Deadline = std::chrono::steady_clock::time_point;

// One signature to be made.
struct Signing {
  std::shared_ptr<const snapshot::Key> key;
  dkim::Digest digest;
  // What was hashed, for a token that insists on hashing itself. Owned by whoever waits for `done`.
  const std::string* signed_data = nullptr;
  Deadline deadline;
  Flow flow;  // whose message it is; its name is owned by whoever waits for `done`
  // Set when nobody waits for it any more: it then gives up its place. Null, or owned by whoever waits for `done`.
  const std::atomic<bool>* cancelled = nullptr;
  // Called once, on the tokens' I/O thread, and must not block. kTokenDown, kPinRejected, kKeyMissing, kKeyMismatch,
  // kTokenRefused, kDeadlineExceeded, kCancelled; kOverloaded at once when its turn would come after its deadline. The
  // signature is not verified yet.
  std::function<void(Result<Bytes>)> done;
  // Ed25519 only: the token signs *signed_data as it is, not a digest of it.
  bool raw = false;
};

struct TokenFacts {
  std::string name;
  link::TokenStatus status;
  int starts = 0;  // how often tokend was started
};

using KeyDone = std::function<void(Result<link::KeyReply>)>;

// One token: its tokend, supervised, and what is waiting for it. Everything runs on one I/O thread (that of `io`).
//
// Little more than the token has sessions for is with tokend; the rest wait here, and flows share the token by their
// weights. When tokend dies or hangs it is replaced, and what was in flight is sent once more: RSA PKCS#1 v1.5 and
// Ed25519 are deterministic, so a second attempt cannot give a second answer.
class Token {
 public:
  Token(boost::asio::io_context& io, std::filesystem::path tokend, TokenConfig config);
  ~Token();

  void Start();
  // Ends tokend and fails what is waiting with kShuttingDown.
  void Stop();
  void Sign(std::vector<Signing> batch);
  // A signature of it did not verify: its handles may be stale. Replaces tokend, which finds every key anew; but not
  // again and again, where that does not help.
  void Distrust();
  void Generate(link::KeyType type, unsigned bits, const Bytes& cka_id, const std::string& label, KeyDone done);
  void Find(const Bytes& cka_id, KeyDone done);
  // Where the public part matches, or nothing is there.
  void Destroy(const Bytes& cka_id, const Bytes& spki, KeyDone done);
  void BeginImport(KeyDone done);
  // `call.id` is chosen here.
  void Import(link::ImportKey call, KeyDone done);
  TokenFacts Facts() const;
  const TokenConfig& config() const { return config_; }

 private:
  struct Attempt {
    Signing signing;
    std::chrono::steady_clock::time_point sent;
    int attempts = 0;
  };
  struct KeyCall {
    KeyDone done;
    std::chrono::steady_clock::time_point expires;
    bool makes_key = false;
  };

  void Spawn();
  void OnFrame(link::Frame frame);
  void OnStatus(const link::TokenStatus& status);
  void OnResults(const link::SignResults& results);
  void OnKeyReply(const link::KeyReply& reply);
  void OnTick();
  void ScheduleTick();
  // Ends this tokend; starts the next after a pause that grows while they die young.
  void Replace(const std::string& why);
  void Pump();
  void FailWaiting(const Error& error);
  std::uint32_t RefOf(const snapshot::Key& key);
  void SendKeyCall(link::Frame frame, std::uint64_t id, KeyDone done);
  bool MakesAKeyMeanwhile() const;
  // What follows from a new status_.
  void NoteState();
  // Too long for anybody to wait for it.
  std::optional<Error> StartsForLong() const;
  // Why nothing can be signed now; nothing when waiting makes sense.
  std::optional<Error> Refusal() const;
  std::optional<Error> Gone(const Signing& signing, std::chrono::steady_clock::time_point now) const;

  boost::asio::io_context& io_;
  const std::filesystem::path program_;
  const TokenConfig config_;
  boost::asio::steady_timer tick_;
  boost::asio::steady_timer respawn_;
  std::optional<TokendProcess> process_;
  std::shared_ptr<link::Channel> channel_;
  link::TokenStatus status_;
  int starts_ = 0;
  int early_deaths_ = 0;  // in a row: of processes that had not signed anything, nor lived long
  bool has_signed_ = false;
  std::chrono::steady_clock::time_point spawned_;
  bool distrusted_ = false;  // the last one was replaced for a wrong signature
  std::optional<std::chrono::steady_clock::time_point> starting_since_;
  bool stopped_ = false;
  std::uint64_t connection_ = 0;  // tells a late event of an old channel from one of the present
  // Set while a refused PIN keeps tokend from being started: the age of the PIN file then.
  std::optional<std::filesystem::file_time_type> pin_file_age_;
  std::uint64_t next_id_ = 1;
  FairQueue<Attempt> waiting_;
  Pace pace_;
  std::unordered_map<std::uint64_t, Attempt> in_flight_;
  std::map<std::uint64_t, KeyCall> key_calls_;
  // Which keys this tokend knows, by a name that holds their public part; forgotten with the process.
  std::unordered_map<std::string, std::uint32_t> key_refs_;
};

}  // namespace hallmark::tokens
