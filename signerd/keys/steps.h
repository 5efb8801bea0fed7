#pragma once

#include <functional>
#include <map>
#include <string>

#include "firmware/runtime/clock.h"
#include "signerd/keys/key_manager.h"
#include "signerd/keys/plan.h"
#include "signerd/keys/records.h"

namespace hallmark::keys {

// What the rotation needs of the rest. All of it from any thread.
struct RotationParts {
  store::Store& store;
  Signer& signer;
  RecordPublisher& publisher;
  RecordObserver& observer;
  const Clock& clock;
  std::function<Status()> publish;        // makes and swaps in a snapshot of the store
  std::function<Status()> publish_again;  // that, where the last one failed, whoever wanted it
  // Puts a step on the ledger before it is made; what cannot be put there is not done. `outcome` is "BEGUN" or "OK".
  std::function<Status(const store::KeyEvent& step, const std::string& outcome)> journal;
  // Why it is not certain that as much time has passed since then as the clock says.
  std::function<Status(std::chrono::sys_seconds time)> counts_since;
};

// Whether a look for a pair failed because half of it is there: its making was cut short, and nobody has used it. That
// is no code of the token's.
bool IsHalfAPair(const Error& error);
// One of the planned pair's group that does not say that it has no such pair.
std::optional<std::string> MemberThatMayHave(Signer& signer, const store::PlannedKey& planned);
// For whoever cleans up there.
std::string UnusedPairIn(const std::string& member, const store::PlannedKey& planned);

// What the servers said of a key's record, the last time that they were asked.
struct Seen {
  RecordView view;
  std::chrono::sys_seconds time{};
  std::string problem;  // in one sentence; empty: as it should be
};
using SeenRecords = std::map<std::string, Seen>;  // by selector

// What the record of a key in this state must say.
Expected ExpectedOf(const store::KeyLife& key);

// Makes the steps of one domain. Each may be repeated: after a crash in the middle of it, or where its end was not
// heard of, making it again brings the same. Lives as long as one look at the domain; one thread.
class StepMaker {
 public:
  StepMaker(const RotationParts& parts, SeenRecords& seen, const store::DomainLife& life,
            const store::RotationPolicy& policy)
      : parts_(parts), seen_(seen), life_(life), policy_(policy), now_(parts.clock.Now()) {}

  // Ok: the store has changed. Errors: kRecordNotVisible where it only has to wait for servers; what parts give.
  Status Make(const Step& step);

  // Looks whether the key's record is as it should be, puts it right where that is wanted and we are the ones who
  // publish it, and keeps what was seen. Ok also where it is not right; an error where that could not be found out or
  // put right.
  Status Watch(const store::KeyLife& key, bool put_right);

  // A signature of the token verifies with the key that every authoritative server gives. kRecordNotVisible: a server
  // gives something else; kDnsUnavailable: one gives no answer, which says nothing about the record.
  Status Prove(const store::KeyLife& key);

 private:
  const store::KeyLife* Find(const std::string& selector) const;
  Status BeginRotation(const Step& step);
  Status Generate(const Step& step);
  // With another CKA_ID, where `member` may have a pair that was made before a crash: there must not be two under one.
  Status PlanAnew(const store::PlannedKey& planned, const std::string& member);
  Status Publish(const Step& step, const store::KeyLife& key);
  Status Confirm(const Step& step, const store::KeyLife& key);
  Status Activate(const Step& step);
  Status Revoke(const Step& step, const store::KeyLife& key);
  Status Withdraw(const Step& step, const store::KeyLife& key);
  Status Destroy(const Step& step, const store::KeyLife& key);

  // Asks the servers, and keeps what they say in seen_.
  Result<Verdict> Look(const store::KeyLife& key, Expected expected);
  Status CheckPublisher() const;  // that the policy's is configured
  // Commits that the key's record is where the policy says, before it is put there; takes away what may be elsewhere.
  Status ChoosePlace(store::KeyLife& key);
  // Whether its publisher has left the configuration.
  bool IsOrphaned(const store::KeyLife& key) const;
  // Has the record say that, where it is not for a person to do. The place of an orphaned key is chosen anew.
  Status ChangeRecord(store::KeyLife& key, Expected value);
  // kRecordConflict where a key is wanted, and the record says that it is revoked.
  Status PutRecord(const store::KeyLife& key, Expected value);
  Status RemoveRecord(const store::KeyLife& key);
  // Before a step with an effect outside of the store. What changes who can sign or verify is put on the ledger too.
  Status Announce(const Step& step, std::string_view from);
  // `after` as the act makes it, and the event of it; the table of transitions says whether it may.
  Status AddChange(store::RotationCommit& commit, const Step& step, store::KeyLife after, Act act);
  // The key may be seen at every server no longer: its wait begins anew.
  Status Doubt(const store::KeyLife& key, const std::string& why);
  // Commits, and puts on the ledger what was announced there.
  Status Finish(const store::RotationCommit& commit);
  void AddRecordEvent(store::RotationCommit& commit, const store::KeyLife& before, const store::KeyLife& after);
  Status CommitRecord(const store::KeyLife& before, const store::KeyLife& after);

  const RotationParts& parts_;
  SeenRecords& seen_;
  const store::DomainLife& life_;
  const store::RotationPolicy& policy_;
  const std::chrono::sys_seconds now_;
};

}  // namespace hallmark::keys
