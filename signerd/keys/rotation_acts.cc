#include <algorithm>

#include "firmware/runtime/log.h"
#include "signerd/keys/rotation_policy.h"
#include "signerd/keys/rotator.h"

// What operators ask of a rotation.
namespace hallmark::keys {
namespace {

using snapshot::KeyState;
using snapshot::RecordState;
using std::chrono::sys_seconds;
using store::Fate;
using store::KeyLife;
using store::RotationCommit;

std::string Names(const std::vector<std::string>& selectors) {
  std::string text;
  for (const std::string& selector : selectors) text += (text.empty() ? "" : ", ") + selector;
  return text;
}

// The successors of suspected keys sign, and a second person has not said yet that these are to be revoked.
bool WaitsToBeCondemned(const store::DomainLife& life) {
  const auto suspected = [&](KeyState state) {
    return std::any_of(life.keys.begin(), life.keys.end(),
                       [&](const KeyLife& key) { return key.key.state == state && key.fate == Fate::kSuspected; });
  };
  return suspected(KeyState::kRetiring) && !suspected(KeyState::kActive);
}

Status CheckGoesOn(const store::RotationRow& row, const std::string& domain) {
  if (!row.paused) return Ok();
  return MakeError(Reason::kStateConflict,
                   "the rotation of " + domain + " is paused (" + row.pause_reason + "): resume it first");
}

}  // namespace

Status Rotator::Request(const std::string& domain, bool emergency, const std::string& by) {
  auto held = Hold(domain);
  if (!held) return held.error();
  store::RotationRow& row = held->life.rotation;
  if (emergency && WaitsToBeCondemned(held->life)) return CheckGoesOn(row, domain);
  const bool going = SetUnderWay(held->life).has_value() || row.wanted != store::Wanted::kNothing;
  if (going && !emergency) {
    return MakeError(Reason::kStateConflict,
                     "a rotation of " + domain + " is under way: see dkimctl key status " + domain);
  }
  if (const Status goes_on = CheckGoesOn(row, domain); !goes_on) return goes_on;
  const Status usable = CheckToken(parts_.signer, held->policy);
  if (!usable) return usable;
  RotationCommit commit;
  commit.domain = domain;
  if (SetUnderWay(held->life)) {
    row.emergency = true;
  } else {
    row.wanted = emergency ? store::Wanted::kEmergency : store::Wanted::kRotation;
    row.wanted_by = by;
    row.wanted_since = parts_.clock.Now();
  }
  commit.rotation = row;
  commit.events.push_back(DomainEvent(domain, emergency ? "EMERGENCY" : "WANTED", by, ""));
  for (KeyLife& key : held->life.keys) {
    if (!emergency || key.key.state != KeyState::kActive || key.fate != Fate::kNone) continue;
    key.fate = Fate::kSuspected;
    commit.keys.push_back({key, key.key.state});
  }
  return parts_.store.CommitRotation(commit);
}

Result<std::vector<std::string>> Rotator::Suspected(const std::string& domain) {
  const auto life = parts_.store.GetDomainLife(domain);
  if (!life) return life.error();
  std::vector<std::string> selectors;
  for (const KeyLife& key : life->keys) {
    const bool matters = key.key.state == KeyState::kActive || key.key.state == KeyState::kRetiring;
    if (matters && key.fate == Fate::kSuspected) selectors.push_back(key.key.selector);
  }
  std::sort(selectors.begin(), selectors.end());
  return selectors;
}

Status Rotator::Condemn(const std::string& domain, const std::string& by) {
  auto held = Hold(domain);
  if (!held) return held.error();
  // What follows from it is a step of the rotation.
  if (const Status goes_on = CheckGoesOn(held->life.rotation, domain); !goes_on) return goes_on;
  RotationCommit commit;
  commit.domain = domain;
  std::vector<std::string> selectors;
  for (KeyLife& key : held->life.keys) {
    if (key.fate != Fate::kSuspected) continue;
    key.fate = Fate::kCompromised;
    selectors.push_back(key.key.selector);
    commit.keys.push_back({key, key.key.state});
  }
  commit.events.push_back(DomainEvent(domain, "COMPROMISED", by, Names(selectors)));
  return parts_.store.CommitRotation(commit);
}

Status Rotator::NameUnusedPair(const std::string& domain, const store::PlannedKey& planned, RotationCommit& commit) {
  const auto tried = parts_.store.IsPlanned(domain, planned.selector, std::string(StateName(KeyState::kGenerated)));
  if (!tried) return tried.error();
  if (!*tried) return Ok();
  const auto member =
      parts_.signer.HasToken(planned.token) ? MemberThatMayHave(parts_.signer, planned) : std::optional(planned.token);
  if (!member) return Ok();
  const std::string left = UnusedPairIn(*member, planned);
  log::warn("{}: {} is given up: {}, which did not answer: remove it there", domain, planned.selector, left);
  const auto now = parts_.clock.Now();
  commit.events.push_back({0, domain, planned.selector, "key", "", "PLAN_GIVEN_UP", now, now, "policy", left});
  return Ok();
}

Status Rotator::GiveUpSuccessor(Held& held, RotationCommit& commit) {
  for (const store::PlannedKey& planned : held.life.planned) {
    // It may have been made, and its record of it been lost in a crash.
    const auto described = parts_.signer.Find(planned.token, planned.cka_id);
    const bool lost = !described && !parts_.signer.HasToken(planned.token);  // and taken out of the configuration
    const bool none = !described && (described.error().reason == Reason::kKeyMissing || IsHalfAPair(described.error()));
    if (!described && !lost && !none) return described.error();
    if (described) {
      const Status destroyed = parts_.signer.Destroy(planned.token, planned.cka_id, described->spki);
      if (!destroyed) return destroyed;
    } else {
      const Status named = NameUnusedPair(held.life.domain, planned, commit);
      if (!named) return named;
    }
    commit.unplan.push_back(planned.selector);
  }
  for (KeyLife& key : held.life.keys) {
    if (!IsSuccessor(key)) continue;
    key.fate = Fate::kAbandoned;
    commit.keys.push_back({key, key.key.state});
  }
  return Ok();
}

// A record that is gone would fail all mail from now on. What was seen last may be long ago: nobody looks at such a
// record while its domain is paused. It counts where no server can be asked, or bad keys would sign through an outage.
Status Rotator::ProveReturning(const Held& held, const KeyLife& key) {
  const auto sign = [&]() -> Status {
    const auto signature = parts_.signer.Sign(std::make_shared<const snapshot::Key>(key.key), "Hallmark");
    return signature ? Ok() : Status(signature.error());
  };
  if (key.publisher.empty()) return sign();  // made by hand: where its record is, is not known
  Memory memory = Recall(held.life.domain);
  StepMaker maker(parts_, memory.seen, held.life, held.policy);
  const Status proven = maker.Prove(key);
  // That it is gone is known also the next time, when no server may answer.
  if (!proven && proven.error().reason == Reason::kRecordNotVisible) static_cast<void>(maker.Watch(key, false));
  Remember(held.life.domain, std::move(memory));
  if (proven) return proven;
  const Reason reason = proven.error().reason;
  if (reason == Reason::kDnsUnavailable && key.key.record == RecordState::kVisible) return sign();
  if (reason != Reason::kDnsUnavailable && reason != Reason::kRecordNotVisible) return proven;
  return MakeError(reason, proven.error().message +
                               ": put its record back first; or, to sign with it all the same: dkimctl key " +
                               "activate " + held.life.domain + " " + key.key.selector + " --unpublished");
}

Status Rotator::ChangePlaces(const Held& held, RotationCommit& commit, const std::string& by) {
  const auto& keys = held.life.keys;
  std::int64_t signing = 0;
  sys_seconds since{};
  for (const KeyLife& key : keys) {
    if (key.key.state != KeyState::kActive) continue;
    signing = std::max(signing, key.set);
    since = std::max(since, key.key.state_since);
  }
  const sys_seconds now = parts_.clock.Now();
  const auto change = [&](KeyLife key, Act act) -> Status {
    const auto next = StateAfter(key.key, act);
    if (!next) return next.error();
    commit.events.push_back({0, held.life.domain, key.key.selector, "key", std::string(StateName(key.key.state)),
                             std::string(StateName(*next)), now, now, by, "rolled back"});
    const KeyState from = std::exchange(key.key.state, *next);
    key.key.state_since = now;
    commit.keys.push_back({std::move(key), from});
    return Ok();
  };
  bool any = false;
  for (const KeyLife& key : keys) {
    // Those that were replaced when the present ones began to sign, not any older ones.
    if (signing == 0 || key.key.state != KeyState::kRetiring || key.key.state_since < since) continue;
    if (key.fate == Fate::kSuspected || key.fate == Fate::kCompromised) {
      return MakeError(Reason::kStateConflict,
                       key.key.selector + " is said to be compromised: it is not signed with again");
    }
    const auto going =
        parts_.store.IsPlanned(held.life.domain, key.key.selector, std::string(StateName(KeyState::kRevoked)));
    if (!going) return going.error();
    if (*going) return MakeError(Reason::kStateConflict, key.key.selector + " is being revoked");
    const Status proven = ProveReturning(held, key);
    if (!proven) return proven;
    const Status changed = change(key, Act::kActivate);
    if (!changed) return changed;
    any = true;
  }
  if (!any) {
    return MakeError(
        Reason::kStateConflict,
        "there is nothing to roll back: no successor is on its way, and no key that was replaced is RETIRING");
  }
  for (const KeyLife& key : keys) {
    if (key.key.state != KeyState::kActive) continue;
    const Status changed = change(key, Act::kRetire);
    if (!changed) return changed;
  }
  return Ok();
}

Status Rotator::RollBack(const std::string& domain, const std::string& by) {
  auto held = Hold(domain);
  if (!held) return held.error();
  RotationCommit commit;
  commit.domain = domain;
  commit.rotation = held->life.rotation;
  const bool pending = SetUnderWay(held->life).has_value();
  const bool wanted = held->life.rotation.wanted != store::Wanted::kNothing;
  Status done = Ok();
  if (pending) done = GiveUpSuccessor(*held, commit);
  if (!pending && !wanted) done = ChangePlaces(*held, commit, by);
  if (!done) return done;
  commit.rotation->wanted = store::Wanted::kNothing;
  commit.rotation->emergency = false;
  commit.rotation->paused = true;
  commit.rotation->pause_reason = "rolled back by " + by;
  commit.events.push_back(DomainEvent(domain, "ROLLED_BACK", by, ""));
  done = parts_.store.CommitRotation(commit);
  if (!done) return done;
  done = parts_.publish();
  const auto forget = [&](const std::string& selector) {
    const Status forgotten = parts_.store.ForgetPlanned(domain, selector);
    if (!forgotten) log::error("{}: the history keeps a step that is given up: {}", domain, forgotten.error().message);
  };
  for (const auto& change : commit.keys) forget(change.after.key.selector);
  for (const auto& selector : commit.unplan) forget(selector);
  return done;
}

Status Rotator::Pause(const std::string& domain, const std::string& reason, const std::string& by) {
  auto held = Hold(domain);
  if (!held) return held.error();
  RotationCommit commit;
  commit.domain = domain;
  commit.rotation = held->life.rotation;
  commit.rotation->paused = true;
  commit.rotation->pause_reason = (reason.empty() ? "" : reason + ", ") + std::string("by ") + by;
  commit.events.push_back(DomainEvent(domain, "PAUSED", by, reason));
  return parts_.store.CommitRotation(commit);
}

Status Rotator::Resume(const std::string& domain, const std::string& by) {
  auto held = Hold(domain);
  if (!held) return held.error();
  if (!held->life.rotation.paused) {
    return MakeError(Reason::kStateConflict, "the rotation of " + domain + " is not paused");
  }
  RotationCommit commit;
  commit.domain = domain;
  commit.rotation = held->life.rotation;
  commit.rotation->paused = false;
  commit.rotation->pause_reason.clear();
  commit.events.push_back(DomainEvent(domain, "RESUMED", by, ""));
  return parts_.store.CommitRotation(commit);
}

Status Rotator::CheckPublished(const std::string& domain, const std::string& selector) {
  auto held = Hold(domain);
  if (!held) return held.error();
  const auto key = std::find_if(held->life.keys.begin(), held->life.keys.end(),
                                [&](const KeyLife& life) { return life.key.selector == selector; });
  if (key == held->life.keys.end()) {
    return MakeError(Reason::kNotFound, "the domain " + domain + " has no key with selector " + selector);
  }
  Memory memory = Recall(domain);
  const Status done = StepMaker(parts_, memory.seen, held->life, held->policy).Prove(*key);
  Remember(domain, std::move(memory));
  return done;
}

}  // namespace hallmark::keys
