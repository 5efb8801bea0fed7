#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/tokens/token_group.h"

namespace hallmark::tokens {

// All tokens, and the one I/O thread that serves their links. Any thread may call; answers come on the I/O thread.
class TokenSet {
 public:
  // `tokend` is the program. Nothing is started yet.
  TokenSet(const std::filesystem::path& tokend, const std::vector<TokenConfig>& configs);
  ~TokenSet();

  void Start();
  // Ends every tokend, fails what waits with kShuttingDown, joins the I/O thread. Safe to repeat.
  void Stop();
  // After so long calls for keys fail with kShuttingDown, as one may take many minutes; signing goes on. Once.
  void EndKeyCallsAfter(std::chrono::milliseconds patience);

  // Each goes to the group that its key names as its token; see TokenGroup. A key of a token that is not configured
  // fails with kTokenDown; after Stop() all fail with kShuttingDown, on this thread.
  void Sign(std::vector<Signing> batch);
  // A signature of this token did not verify; see Token. What is given to Sign() afterwards is signed afterwards.
  void Distrust(std::string_view token);
  // What came of a test signature in this token: while it is sick, it gets nothing to sign that others can.
  void SetSick(const std::string& token, bool sick);

  // These are for one token, which carries out one after the other, and wait for its answer: ten minutes at most from
  // when it was asked, became ready or answered another, but for a login only ten seconds. Never call them on the I/O
  // thread. kNotFound: no such token in the configuration. kTokenDown: it has no login, its tokend ended, or it did not
  // answer in time; it may have carried the call out then. kShuttingDown: after Stop() or EndKeyCallsAfter().
  // kTokenRefused, kPinRejected: what the token said.

  // Makes a pair. kTokenRefused where one has this CKA_ID already.
  Result<link::KeyReply> Generate(const std::string& token, link::KeyType type, unsigned bits, const Bytes& cka_id,
                                  const std::string& label);
  // Its public part. kKeyMissing where there is no such pair.
  Result<link::KeyReply> Find(const std::string& token, const Bytes& cka_id);
  // Where its public part is `spki`, else kKeyMismatch. One that is not there counts as destroyed.
  Status Destroy(const std::string& token, const Bytes& cka_id, const Bytes& spki);
  // The public key that a private key is to be wrapped for; good until its tokend ends or logs in again.
  Result<link::KeyReply> BeginImport(const std::string& token);
  // Puts in a pair that was wrapped for it; call.id is chosen here. kStateConflict where it was wrapped for another,
  // kInvalidArgument where it does not unwrap, kKeyMismatch where the public part is another pair's.
  Result<link::KeyReply> Import(const std::string& token, const link::ImportKey& call);
  // How all of them are, by name; none after Stop(). Waits for the I/O thread, so never call it there.
  std::vector<TokenFacts> Facts();

  // Whether keys may name it as their token: a group's name, or that of a token alone.
  bool Has(const std::string& group) const { return groups_.contains(group); }
  // The tokens of a group, by name, in the order of the configuration; none where there is no such group.
  const std::vector<std::string>& MembersOf(const std::string& group) const;
  const std::string& first() const { return first_; }  // group

 private:
  struct Group {
    std::unique_ptr<TokenGroup> tokens;
    std::vector<std::string> names;
  };
  Result<link::KeyReply> Call(const std::string& token, std::function<void(Token&, KeyDone)> call);
  // What the I/O thread does first with the answer to a call that makes a key.
  KeyDone NotingNewKey(const Token& token, const Bytes& cka_id, KeyDone done);
  // Under mutex_, before something is put into inbox_ or distrusted_.
  void PostSpread();
  // On the I/O thread: takes what is in inbox_ and distrusted_.
  void Spread();
  // Has the I/O thread make the call. False after Stop(): then it is not made.
  bool Post(const std::function<void()>& call);

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer key_calls_end_;  // of the I/O thread
  std::string first_;
  // Fixed after construction; the tokens themselves are touched on the I/O thread only.
  std::map<std::string, std::unique_ptr<Token>> by_name_;
  std::map<std::string, Group> groups_;
  std::thread thread_;
  std::mutex mutex_;  // guards everything below
  // On their way to the I/O thread, which is told of the first only.
  std::vector<Signing> inbox_;
  std::set<std::string, std::less<>> distrusted_;
  bool stopped_ = false;
};

}  // namespace hallmark::tokens
