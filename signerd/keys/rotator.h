#pragma once

#include <map>
#include <mutex>
#include <string>

#include "signerd/keys/domain_locks.h"
#include "signerd/keys/next_look.h"
#include "signerd/keys/steps.h"

namespace hallmark::keys {

// Where a domain's rotation is.
struct RotationView {
  store::DomainLife life;
  store::RotationPolicy policy;
  bool inherited = false;  // the domain has no policy of its own
  std::vector<Step> steps;
  SeenRecords seen;
  std::string trouble;  // what keeps a step that is due from being made
  std::chrono::sys_seconds trouble_since{};
};

// The rotation of keys: makes each step that is due, and what operators ask of it. The store says where a domain is;
// what is only here (what was seen, troubles) may be lost. Any thread; one at a time works on a domain.
class Rotator {
 public:
  Rotator(RotationParts parts, DomainLocks& locks);

  // Makes the steps of the domain that are due. Gives when to look again; urgent in an emergency, and while an
  // operator's revoking is not in DNS.
  NextLook Tick(const std::string& domain);

  // kStateConflict while one is under way; an emergency then hurries it. The keys that sign are suspected then. An
  // emergency that is asked for again begins nothing while its suspected keys, which sign no longer, are not condemned:
  // the new keys are not suspected by that.
  Status Request(const std::string& domain, bool emergency, const std::string& by);
  // The selectors of the suspected keys, in order.
  Result<std::vector<std::string>> Suspected(const std::string& domain);
  // The suspected keys are compromised: they are revoked as soon as they sign no longer.
  Status Condemn(const std::string& domain, const std::string& by);
  // Gives up a successor that does not sign yet; otherwise the keys that it replaced sign again, unless DNS, which is
  // asked, says something else than their records (kRecordNotVisible). Where it says nothing, what was seen last
  // counts. Pauses the domain.
  Status RollBack(const std::string& domain, const std::string& by);
  Status Pause(const std::string& domain, const std::string& reason, const std::string& by);
  Status Resume(const std::string& domain, const std::string& by);
  // Whether DNS gives the key's record everywhere, and the token signs what verifies with it.
  Status CheckPublished(const std::string& domain, const std::string& selector);

  Result<RotationView> View(const std::string& domain);
  // Domains in trouble for longer than `age`, and why.
  std::map<std::string, std::string> Troubles(std::chrono::seconds age);

 private:
  struct Memory {
    SeenRecords seen;
    std::string trouble;
    std::chrono::sys_seconds trouble_since{}, next_try{};
    int failures = 0;  // in a row
  };
  // The domain locked, and what is kept of it.
  struct Held {
    DomainLocks::Guard guard;
    store::DomainLife life;
    store::RotationPolicy policy;
  };
  // The domain could not be read: its memory gets the trouble.
  NextLook LookAfter(const std::string& domain, const Error& error);
  Result<Held> Hold(const std::string& domain);
  Result<Held> Load(const std::string& domain, std::chrono::milliseconds wait);
  // Times that lie ahead are those of a clock that went back: they count from now.
  Status TurnBack(store::DomainLife& life, std::chrono::sys_seconds now);
  // The first error of the steps that are due; makes all others.
  Status MakeDue(Held& held, Memory& memory);
  // Of a domain that is paused: those of the keys that sign, and only says what is wrong; and what is being revoked.
  Status WatchRecords(Held& held, Memory& memory);
  // When to look at a record again: soon where it was not as it should be, or one lost packet would be an hour's
  // trouble.
  std::chrono::sys_seconds LookDue(const Seen& seen, const store::KeyLife& key, std::chrono::seconds every,
                                   const Memory& memory) const;
  std::chrono::sys_seconds LookAgain(const Held& held, const Memory& memory, std::chrono::sys_seconds now) const;
  // A pair of a plan that is given up may be in a token that does not answer: into the history and the log.
  Status NameUnusedPair(const std::string& domain, const store::PlannedKey& planned, store::RotationCommit& commit);
  Status GiveUpSuccessor(Held& held, store::RotationCommit& commit);
  Status ProveReturning(const Held& held, const store::KeyLife& key);
  Status ChangePlaces(const Held& held, store::RotationCommit& commit, const std::string& by);
  void Remember(const std::string& domain, Memory memory);
  Memory Recall(const std::string& domain);
  store::KeyEvent DomainEvent(const std::string& domain, const std::string& to, const std::string& by,
                              const std::string& note) const;

  RotationParts parts_;  // fixed after construction
  DomainLocks& locks_;
  std::mutex mutex_;  // guards memories_
  std::map<std::string, Memory> memories_;
};

}  // namespace hallmark::keys
