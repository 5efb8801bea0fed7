#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "firmware/runtime/result.h"
#include "hsm/link/channel.h"
#include "hsm/link/frame.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/tokens/fair_queue.h"
#include "signerd/tokens/latency.h"
#include "signerd/tokens/pace.h"
#include "signerd/tokens/pending_key_calls.h"
#include "signerd/tokens/process.h"
#include "signerd/tokens/signing.h"
#include "signerd/tokens/token_config.h"

namespace hallmark::tokens {

struct TokenFacts {
  std::string name;
  link::TokenStatus status;
  int starts = 0;  // how often tokend was started
  std::string group;
  bool sick = false;             // of a group of several: it gets nothing to sign while another can
  std::uint64_t signatures = 0;  // made since signerd started
  std::size_t load = 0;          // signatures that wait for it or are being made
};

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
  // Fails the calls for keys with kShuttingDown, those to come too. Signing goes on.
  void EndKeyCalls();
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

  // For the choice among the tokens of a group.
  link::TokenState state() const { return status_.state; }
  unsigned sessions() const { return status_.sessions; }
  std::size_t load() const { return waiting_.size() + in_flight_.size(); }
  double service() const { return latency_.service(); }
  // Its tokend was replaced, or it failed otherwise, and no test signature has let it back.
  bool sick() const { return sick_; }
  void SetSick(bool sick) { sick_ = sick; }
  // Too long for anybody to wait for it.
  std::optional<Error> StartsForLong() const;
  // Whether a signature takes so much longer than usual that the token may hang.
  bool IsLate(Deadline now) const;
  // Those of a group that are late, where somebody still waits for them. They stay in flight.
  std::vector<std::shared_ptr<Race>> LateRaces(Deadline now) const;
  // Takes out those of a group's that wait here and are wanted.
  std::vector<std::shared_ptr<Race>> TakeWaiting(const std::function<bool(const Race&)>& wanted);

 private:
  struct Attempt {
    Signing signing;
    std::chrono::steady_clock::time_point sent;
    std::size_t among = 0;             // in flight when it was sent, itself too
    std::uint64_t answers_before = 0;  // of the token, when it was sent
    int attempts = 0;
    bool data = false;  // what was sent is what the token is to hash, and no digest
  };
  struct KnownKey {
    std::uint32_t ref = 0;
    bool wants_data = false;  // RSA: the key may not sign a digest, as its token said
  };

  void Spawn();
  void OnFrame(link::Frame frame);
  void OnStatus(const link::TokenStatus& status);
  void OnResults(const link::SignResults& results);
  void OnTick();
  void ReplaceIfItHangs(std::chrono::steady_clock::time_point now);
  void ScheduleTick();
  // Ends this tokend; starts the next after a pause that grows while they die young.
  void Replace(const std::string& why);
  // Where the PIN is refused only when its file has changed.
  void ScheduleRespawn();
  bool IsPinRefused() const;
  void Pump();
  // What tokend gets next, as much as fits into a frame.
  link::SignBatch NextBatch();
  // For a key that its token will not sign a digest with: first in the queue, as data. False where it was data.
  bool AskWithData(Attempt& attempt);
  void FailWaiting(const Error& error);
  // What was in flight when its tokend ended goes first, once more, or fails.
  void FailInFlight(const Error& error);
  // Fails what nobody waits for any more.
  void FailExpired(std::chrono::steady_clock::time_point now);
  // Fails what waits here and others can make too.
  void GiveBack(const std::string& why);
  // Tells tokend of a key that it does not know.
  KnownKey& Known(const snapshot::Key& key);
  void SendKeyCall(link::Frame frame, std::uint64_t id, KeyDone done);
  // Whether a signature takes longer than one may; that it waits for others does not count.
  bool Hangs(std::chrono::steady_clock::time_point now) const;
  // Whether a key is being made that signatures wait for: on the only session that signs, where it may take minutes;
  // and where a token does one thing at a time though it has several, which shows in that it signs nothing meanwhile.
  bool WaitsForKey(std::chrono::steady_clock::time_point now) const;
  // The module came back, from a signature or with the key. Signatures have waited for the key only where none came
  // back for longer than one may take: a token that signs beside keys has no such gap, and may make one after the
  // other.
  void NoteKeyWait(std::chrono::steady_clock::time_point now);
  // Whether so many others were answered, or some that came so much later, that it can't be waiting for a session:
  // tokend takes them in their order, and those that are in the module together may come back in any.
  bool IsOvertaken(const Attempt& attempt, std::chrono::steady_clock::time_point since) const;
  // What follows from a new status_.
  void NoteState();
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
  // When the module last came back from a signature, or from a key call that signatures wait for.
  std::chrono::steady_clock::time_point last_answer_;
  // Until when signatures waited for a key, see NoteKeyWait: it was made, or one of them came back first.
  std::chrono::steady_clock::time_point waited_until_;
  std::uint64_t answers_ = 0;  // of signatures
  // When the newest of those that were answered was sent.
  std::chrono::steady_clock::time_point newest_answered_;
  bool distrusted_ = false;  // the last one was replaced for a wrong signature
  std::optional<std::chrono::steady_clock::time_point> starting_since_;
  std::chrono::steady_clock::time_point ready_since_;
  bool stopped_ = false;
  std::uint64_t connection_ = 0;  // tells a late event of an old channel from one of the present
  // The age of the PIN file when tokend last said that the token refused what is in it; until a login. What became of
  // the token since then does not matter: it was pulled, or is down.
  std::optional<std::filesystem::file_time_type> refused_pin_age_;
  bool waits_for_pin_ = false;  // a refused PIN keeps tokend from being started
  std::uint64_t next_id_ = 1;
  FairQueue<Attempt> waiting_;
  Pace pace_;
  Latency latency_;
  bool sick_ = false;
  std::uint64_t signatures_ = 0;
  std::unordered_map<std::uint64_t, Attempt> in_flight_;
  PendingKeyCalls key_calls_;
  bool key_calls_ended_ = false;
  // Which keys this tokend knows, by a name that holds their public part; forgotten with the process.
  std::unordered_map<std::string, KnownKey> known_keys_;
};

}  // namespace hallmark::tokens
