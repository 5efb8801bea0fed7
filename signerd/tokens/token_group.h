#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "signerd/tokens/choice.h"
#include "signerd/tokens/token.h"

namespace hallmark::tokens {

// Tokens that hold the same keys: clones, or the members of a vendor's group that are reached one by one. A token
// alone is a group of its own, which costs nothing. Everything runs on the I/O thread of `io`.
//
// A signing goes to the least loaded member that is well. Where that one fails, lacks the key or does not answer for
// long, another is asked, each once, within the signing's deadline. What was in flight at a member that is late goes to
// another as well, and the first answer counts: RSA PKCS#1 v1.5 and Ed25519 are deterministic.
//
// A member that failed, or whose tokend was replaced, is sick, and gets nothing while another can sign, until a test
// signature lets it back (SetSick). One that is late gets nothing new until it has answered.
class TokenGroup {
 public:
  static constexpr std::size_t kMostMembers = 64;

  TokenGroup(boost::asio::io_context& io, std::string name) : io_(io), name_(std::move(name)), tick_(io) {}

  // Before Start().
  void AddMember(Token& token) { members_.push_back({&token, {}, {}, false, 0}); }
  void Start();
  void Stop();
  void EndKeyCalls();

  // Chooses a member. What was added is sent by Flush().
  void Add(Signing signing);
  void Flush();
  // The pair that was seen in the member under this CKA_ID; null where there is none.
  void NoteSeen(const Token& token, const Bytes& cka_id, const link::KeyReply* pair);
  // A key was made: what was seen before is no longer known of any member, as a vendor may copy it to the others.
  void NoteNewKey(const Bytes& cka_id);

  bool several() const { return members_.size() > 1; }
  const std::string& name() const { return name_; }

 private:
  using RacePointer = std::shared_ptr<Race>;
  struct Member {
    Token* token;
    std::vector<Signing> batch;
    // By CKA_ID: keys that it cannot sign with, and the public part that is wanted of it; empty where none was yet.
    std::map<Bytes, Bytes> lacking;
    bool late;
    std::uint64_t turn;  // when it was last chosen
  };

  // Whatever key it is for.
  static Doubt DoubtOf(const Member& member);
  std::optional<std::size_t> Choose(const Race& race, Doubt worst);
  void Put(const RacePointer& race, std::size_t member);
  // To a member that was not asked yet, or to one that was where none is left. False: all were.
  bool Send(const RacePointer& race);
  void OnAnswer(const RacePointer& race, std::size_t member, Result<Made> answer);
  // Sends what a member could not make elsewhere.
  void SendOn();
  void ScheduleTick();
  void OnTick();
  // What the error of one of them says about it.
  void Learn(std::size_t member, const snapshot::Key& key, Reason reason);
  // What is late at this member goes to another too.
  void Double(std::size_t member);
  // What waits at this member goes to another instead, where one can sooner.
  void Relieve(std::size_t member);

  boost::asio::io_context& io_;
  const std::string name_;
  boost::asio::steady_timer tick_;
  std::vector<Member> members_;
  std::uint64_t turns_ = 0;
  std::vector<Candidate> candidates_;    // of the choice that is being made
  std::vector<RacePointer> unanswered_;  // that SendOn() takes
  bool stopped_ = false;
};

}  // namespace hallmark::tokens
