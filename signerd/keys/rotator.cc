#include "signerd/keys/rotator.h"

#include <algorithm>
#include <set>

#include "firmware/runtime/log.h"
#include "signerd/keys/rotation_policy.h"

namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;
using snapshot::KeyState;
using snapshot::RecordState;
using std::chrono::sys_seconds;
using store::Fate;
using store::KeyLife;
using store::RotationCommit;

constexpr std::chrono::milliseconds kLockWait = 10s;    // of an operator's act
constexpr std::chrono::milliseconds kStepWait = 10min;  // of a step: longer than any other takes
constexpr std::chrono::seconds kClockNoise = 60s;
constexpr std::chrono::seconds kFirstRetry = 10s, kLongestRetry = 10min;
constexpr std::chrono::seconds kWaitingLook = 5min, kSettledLook = 1h, kLongestSleep = 24h;
constexpr int kMostRounds = 100;  // steps of one look: more than any domain has

std::chrono::seconds RetryAfter(int failures) {
  return std::min(kLongestRetry, std::chrono::seconds(kFirstRetry.count() << std::min(failures, 8)));
}

// How often the record is looked at beside the steps; nothing where that is not ours to do.
std::optional<std::chrono::seconds> LookEvery(const KeyLife& key) {
  switch (key.key.state) {
    case KeyState::kPublished:
      if (key.visible_since == sys_seconds{}) return std::nullopt;  // a step waits for it, and looks
      return kWaitingLook;
    case KeyState::kActive:
    case KeyState::kRetiring:
      if (key.publisher.empty()) return std::nullopt;  // made by hand
      return key.key.record == RecordState::kVisible ? kSettledLook : kWaitingLook;
    case KeyState::kRevoked:
    case KeyState::kWithdrawn:
      if (key.key.record == RecordState::kUnretentive) return kWaitingLook;
      return std::nullopt;
    default: return std::nullopt;
  }
}

std::string Names(const std::vector<std::string>& selectors) {
  std::string text;
  for (const std::string& selector : selectors) text += (text.empty() ? "" : ", ") + selector;
  return text;
}

}  // namespace

Rotator::Rotator(RotationParts parts, DomainLocks& locks) : parts_(std::move(parts)), locks_(locks) {
  auto publish = std::move(parts_.publish);
  parts_.publish = [this, publish] {
    const Status done = publish();
    if (!done) unpublished_ = true;
    return done;
  };
}

store::KeyEvent Rotator::DomainEvent(const std::string& domain, const std::string& to, const std::string& by,
                                     const std::string& note) const {
  const auto now = parts_.clock.Now();
  return {0, domain, "", "domain", "", to, now, now, by, note};
}

Rotator::Memory Rotator::Recall(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  const auto known = memories_.find(domain);
  return known == memories_.end() ? Memory() : known->second;
}

void Rotator::Remember(const std::string& domain, Memory memory) {
  const std::lock_guard lock(mutex_);
  if (memory.seen.empty() && memory.trouble.empty()) {
    memories_.erase(domain);  // most domains of a hundred thousand
  } else {
    memories_[domain] = std::move(memory);
  }
}

Result<Rotator::Held> Rotator::Load(const std::string& domain, std::chrono::milliseconds wait) {
  auto guard = locks_.Acquire(domain, wait);
  if (!guard) return MakeError(Reason::kStateConflict, "a step of the rotation of " + domain + " is made: try again");
  auto life = parts_.store.GetDomainLife(domain);
  if (!life) return life.error();
  auto policy = PolicyOf(parts_.store, domain);
  if (!policy) return policy.error();
  return Held{std::move(*guard), std::move(*life), std::move(*policy)};
}

Result<Rotator::Held> Rotator::Hold(const std::string& domain) { return Load(domain, kLockWait); }

Status Rotator::TurnBack(store::DomainLife& life, sys_seconds now) {
  RotationCommit commit;
  commit.domain = life.domain;
  const auto ahead = [now](sys_seconds time) { return time > now + kClockNoise; };
  for (KeyLife& key : life.keys) {
    if (!ahead(key.key.state_since) && !ahead(key.visible_since)) continue;
    key.key.state_since = std::min(key.key.state_since, now);
    key.visible_since = std::min(key.visible_since, now);
    commit.keys.push_back({key, key.key.state});
  }
  if (ahead(life.rotation.wanted_since)) {
    life.rotation.wanted_since = now;
    commit.rotation = life.rotation;
  }
  if (commit.keys.empty() && !commit.rotation) return Ok();
  commit.events.push_back(DomainEvent(life.domain, "CLOCK", "policy", "the clock went back: times count from now"));
  return parts_.store.CommitRotation(commit);
}

Status Rotator::MakeDue(Held& held, Memory& memory) {
  const sys_seconds now = parts_.clock.Now();
  Status first = Ok();
  std::set<std::pair<Work, std::string>> failed;
  for (int round = 0; round < kMostRounds; ++round) {
    bool made = false;
    for (const Step& step : Plan(held.life, held.policy, now)) {
      if (step.due > now || failed.contains({step.work, step.selector})) continue;
      StepMaker maker(parts_, memory.seen, held.life, held.policy);
      const Status done = maker.Make(step);
      if (!done) {
        failed.emplace(step.work, step.selector);
        if (first) first = done;
      } else if (step.work == Work::kActivate) {
        log::info("{}: its new keys sign", held.life.domain);
      }
      // Whether it went well or not: the store may have changed.
      auto life = parts_.store.GetDomainLife(held.life.domain);
      if (!life) return life.error();
      held.life = std::move(*life);
      made = true;
      break;
    }
    if (!made) break;
  }
  return first;
}

Status Rotator::WatchRecords(const Held& held, Memory& memory) {
  const sys_seconds now = parts_.clock.Now();
  Status first = Ok();
  for (const KeyLife& key : held.life.keys) {
    const auto every = LookEvery(key);
    if (!every) continue;
    const auto last = memory.seen.find(key.key.selector);
    if (last != memory.seen.end() && last->second.time <= now && last->second.time + *every > now) continue;
    StepMaker maker(parts_, memory.seen, held.life, held.policy);
    const Status done = maker.Watch(key);
    const std::string& problem = memory.seen[key.key.selector].problem;
    if (!first) continue;
    if (!done) {
      first = done;
    } else if (!problem.empty()) {
      first = MakeError(Reason::kRecordNotVisible, RecordName(key.key) + ": " + problem);
    }
  }
  return first;
}

sys_seconds Rotator::NextLook(const Held& held, const Memory& memory, sys_seconds now) const {
  sys_seconds next = now + kLongestSleep;
  for (const Step& step : Plan(held.life, held.policy, now)) {
    next = std::min(next, step.due <= now ? memory.next_try : step.due);
  }
  for (const KeyLife& key : held.life.keys) {
    const auto every = LookEvery(key);
    const auto seen = memory.seen.find(key.key.selector);
    if (every && seen != memory.seen.end()) next = std::min(next, seen->second.time + *every);
  }
  return std::max(next, now + 1s);
}

sys_seconds Rotator::Tick(const std::string& domain) {
  auto held = Load(domain, kStepWait);
  const sys_seconds now = parts_.clock.Now();
  if (!held) {
    if (held.error().reason != Reason::kNotFound) log::error("{}: {}", domain, held.error().message);
    return now + kLongestRetry;
  }
  Memory memory = Recall(domain);
  Status done = TurnBack(held->life, now);
  if (done && unpublished_.exchange(false)) done = parts_.publish();
  if (done && held->life.rotation.paused) return now + kLongestSleep;
  if (done) {
    done = MakeDue(*held, memory);
    const Status watched = WatchRecords(*held, memory);
    if (done) done = watched;
    if (auto life = parts_.store.GetDomainLife(domain)) held->life = std::move(*life);
  }
  if (done) {
    if (!memory.trouble.empty()) log::info("{}: the rotation goes on", domain);
    memory.trouble.clear();
    memory.failures = 0;
  } else {
    // One line for each new trouble, however often it is tried.
    if (memory.trouble.empty()) memory.trouble_since = now;
    if (memory.trouble != done.error().message) log::warn("{}: the rotation waits: {}", domain, done.error().message);
    memory.trouble = done.error().message;
    memory.next_try = now + RetryAfter(memory.failures++);
  }
  const sys_seconds next = NextLook(*held, memory, now);
  Remember(domain, std::move(memory));
  return next;
}

Status Rotator::Request(const std::string& domain, bool emergency, const std::string& by) {
  auto held = Hold(domain);
  if (!held) return held.error();
  store::RotationRow& row = held->life.rotation;
  const bool going = SetUnderWay(held->life).has_value() || row.wanted != store::Wanted::kNothing;
  if (going && !emergency) {
    return MakeError(Reason::kStateConflict,
                     "a rotation of " + domain + " is under way: see dkimctl key status " + domain);
  }
  if (row.paused) {
    return MakeError(Reason::kStateConflict,
                     "the rotation of " + domain + " is paused (" + row.pause_reason + "): resume it first");
  }
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

Status Rotator::GiveUpSuccessor(Held& held, RotationCommit& commit) {
  for (const store::PlannedKey& planned : held.life.planned) {
    // It may have been made, and its record of it been lost in a crash.
    const auto described = parts_.signer.Find(planned.token, planned.cka_id);
    if (!described && described.error().reason != Reason::kKeyMissing) return described.error();
    if (described) {
      const Status destroyed = parts_.signer.Destroy(planned.token, planned.cka_id, described->spki);
      if (!destroyed) return destroyed;
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
  const auto change = [&](KeyLife key, KeyState to) {
    commit.events.push_back({0, held.life.domain, key.key.selector, "key", std::string(StateName(key.key.state)),
                             std::string(StateName(to)), now, now, by, "rolled back"});
    const KeyState from = key.key.state;
    key.key.state = to;
    key.key.state_since = now;
    commit.keys.push_back({std::move(key), from});
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
    const snapshot::Key& probe = key.key;
    const auto signature = parts_.signer.Sign(std::make_shared<const snapshot::Key>(probe), dkim::Digest{0x48, 0x6d});
    if (!signature) return signature.error();
    change(key, KeyState::kActive);
    any = true;
  }
  if (!any) {
    return MakeError(
        Reason::kStateConflict,
        "there is nothing to roll back: no successor is on its way, and no key that was replaced is RETIRING");
  }
  for (const KeyLife& key : keys) {
    if (key.key.state == KeyState::kActive) change(key, KeyState::kRetiring);
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
  for (const auto& change : commit.keys) {
    const Status forgotten = parts_.store.ForgetPlanned(domain, change.after.key.selector);
    if (!forgotten) return forgotten;
  }
  return parts_.publish();
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

std::map<std::string, std::string> Rotator::Troubles(std::chrono::seconds age) {
  const sys_seconds now = parts_.clock.Now();
  std::map<std::string, std::string> troubles;
  const std::lock_guard lock(mutex_);
  for (const auto& [domain, memory] : memories_) {
    if (!memory.trouble.empty() && memory.trouble_since + age <= now) troubles.emplace(domain, memory.trouble);
  }
  return troubles;
}

Result<RotationView> Rotator::View(const std::string& domain) {
  RotationView view;
  auto life = parts_.store.GetDomainLife(domain);
  if (!life) return life.error();
  auto policy = PolicyOf(parts_.store, domain);
  if (!policy) return policy.error();
  view.life = std::move(*life);
  view.policy = std::move(*policy);
  view.inherited = view.policy.domain.empty();
  view.steps = Plan(view.life, view.policy, parts_.clock.Now());
  Memory memory = Recall(domain);
  view.seen = std::move(memory.seen);
  view.trouble = std::move(memory.trouble);
  view.trouble_since = memory.trouble_since;
  return view;
}

}  // namespace hallmark::keys
