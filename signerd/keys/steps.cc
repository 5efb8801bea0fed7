#include "signerd/keys/steps.h"

#include <algorithm>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/log.h"
#include "signerd/keys/rotation_policy.h"

namespace hallmark::keys {
namespace {

using snapshot::KeyState;
using snapshot::RecordState;
using store::KeyLife;
using store::RotationCommit;

constexpr std::string_view kByPolicy = "policy";

std::string Text(std::string_view text) { return std::string(text); }

Act ActOf(Work work) {
  switch (work) {
    case Work::kPublish: return Act::kPublish;
    case Work::kObserve: return Act::kConfirm;
    case Work::kRevoke: return Act::kRevoke;
    case Work::kDestroy: return Act::kDestroy;
    default: return Act::kWithdraw;
  }
}

// A pair that is made or destroyed, a key that begins or ceases to sign or to verify.
bool IsLedgered(const store::KeyEvent& event) {
  return event.axis == "key" && event.to != StateName(KeyState::kPublished) && event.to != StateName(KeyState::kReady);
}

}  // namespace

Expected ExpectedOf(const KeyLife& key) {
  switch (key.key.state) {
    case KeyState::kRevoked: return Expected::kRevoked;
    case KeyState::kWithdrawn:
    case KeyState::kDestroyed: return Expected::kNothing;
    default: return Expected::kKey;
  }
}

bool IsHalfAPair(const Error& error) { return error.reason == Reason::kTokenRefused && error.token_code == 0; }

std::optional<std::string> MemberThatMayHave(Signer& signer, const store::PlannedKey& planned) {
  for (const std::string& member : signer.MembersOf(planned.token)) {
    const auto found = signer.Find(member, planned.cka_id);
    if (found || found.error().reason != Reason::kKeyMissing) return member;
  }
  return std::nullopt;
}

std::string UnusedPairIn(const std::string& member, const store::PlannedKey& planned) {
  return "token " + member + " may have an unused pair with CKA_ID " + HexEncode(planned.cka_id);
}

const KeyLife* StepMaker::Find(const std::string& selector) const {
  for (const KeyLife& key : life_.keys) {
    if (key.key.selector == selector) return &key;
  }
  return nullptr;
}

Status StepMaker::Make(const Step& step) {
  if (step.work == Work::kPlan) return BeginRotation(step);
  if (step.work == Work::kGenerate) return Generate(step);
  if (step.work == Work::kActivate) return Activate(step);
  const KeyLife* key = Find(step.selector);
  if (key == nullptr) return MakeError(Reason::kInternal, "a step of the unknown key " + step.selector);
  // Before anything outside is changed: what the table refuses must not have happened in the DNS or the token.
  const auto next = StateAfter(key->key, ActOf(step.work));
  if (!next) return next.error();
  switch (step.work) {
    case Work::kPublish: return Publish(step, *key);
    case Work::kObserve: return Confirm(step, *key);
    case Work::kRevoke: return Revoke(step, *key);
    case Work::kWithdraw: return Withdraw(step, *key);
    case Work::kDestroy: return Destroy(step, *key);
    default: return MakeError(Reason::kInternal, "an unknown step");
  }
}

Status StepMaker::Announce(const Step& step, std::string_view from) {
  const std::string to = Text(StateName(step.next));
  const auto planned = parts_.store.IsPlanned(life_.domain, step.selector, to);
  if (!planned) return planned.error();
  if (*planned) return Ok();  // it was tried before
  const store::KeyEvent event{0, life_.domain, step.selector, "key", Text(from), to, step.due, {}, Text(kByPolicy), ""};
  if (IsLedgered(event)) {
    const Status kept = parts_.journal(event, "BEGUN");
    if (!kept) return kept;
  }
  return parts_.store.PlanKeyEvent(event);
}

Status StepMaker::Finish(const RotationCommit& commit) {
  const Status done = parts_.store.CommitRotation(commit);
  if (!done) return done;
  for (const store::KeyEvent& event : commit.events) {
    if (!IsLedgered(event)) continue;
    const Status kept = parts_.journal(event, "OK");
    // It is done, and that it was begun is on the ledger.
    if (!kept)
      log::error("{}: that {} is {} is not on the ledger: {}", event.domain, event.selector, event.to,
                 kept.error().message);
  }
  return Ok();
}

void StepMaker::AddRecordEvent(RotationCommit& commit, const KeyLife& before, const KeyLife& after) {
  if (before.key.record == after.key.record) return;
  commit.events.push_back({0, life_.domain, after.key.selector, "record", Text(StateName(before.key.record)),
                           Text(StateName(after.key.record)), now_, now_, Text(kByPolicy), ""});
}

Status StepMaker::AddChange(RotationCommit& commit, const Step& step, KeyLife after, Act act) {
  const KeyLife& before = *Find(after.key.selector);
  const auto next = StateAfter(before.key, act);
  if (!next) return next.error();
  after.key.state = *next;
  after.key.state_since = now_;
  AddRecordEvent(commit, before, after);
  commit.events.push_back({0, life_.domain, after.key.selector, "key", Text(StateName(before.key.state)),
                           Text(StateName(*next)), step.due, now_, Text(kByPolicy), step.waits_for});
  commit.keys.push_back({std::move(after), before.key.state});
  return Ok();
}

Status StepMaker::BeginRotation(const Step& step) {
  const Status usable = CheckToken(parts_.signer, policy_);
  if (!usable) return usable;
  const std::string token = policy_.token.empty() ? parts_.signer.DefaultToken() : policy_.token;
  const Status publishes = CheckPublisher();
  if (!publishes) return publishes;
  RotationCommit commit;
  commit.domain = life_.domain;
  commit.rotation = life_.rotation;
  commit.rotation->emergency = life_.rotation.wanted == store::Wanted::kEmergency;
  commit.rotation->wanted = store::Wanted::kNothing;
  commit.rotation->last_set = life_.rotation.last_set + 1;
  for (const store::KeyKind& kind : policy_.algorithms) {
    const auto selector = NewSelector(parts_.store, policy_, life_.domain, kind.algorithm, now_);
    if (!selector) return selector.error();
    auto id = NewCkaId();
    if (!id) return id.error();
    commit.plan.push_back({*selector, token, std::move(*id), kind, commit.rotation->last_set});
  }
  const bool asked = life_.rotation.wanted != store::Wanted::kNothing;
  commit.events.push_back({0, life_.domain, "", "domain", "", "ROTATING", step.due, now_,
                           asked ? life_.rotation.wanted_by : Text(kByPolicy), step.waits_for});
  return parts_.store.CommitRotation(commit);
}

Status StepMaker::PlanAnew(const store::PlannedKey& planned, const std::string& member) {
  auto id = NewCkaId();
  if (!id) return id.error();
  const std::string left = UnusedPairIn(member, planned);
  RotationCommit commit;
  commit.domain = life_.domain;
  commit.unplan.push_back(planned.selector);
  commit.plan.push_back(planned);
  commit.plan.back().cka_id = std::move(*id);
  commit.events.push_back(
      {0, life_.domain, planned.selector, "key", "", "PLANNED_ANEW", now_, now_, Text(kByPolicy), left});
  const Status done = parts_.store.CommitRotation(commit);
  if (!done) return done;
  log::warn("{}: {} is made anew: {}: remove it there", life_.domain, planned.selector, left);
  return parts_.store.ForgetPlanned(life_.domain, planned.selector);
}

Status StepMaker::Generate(const Step& step) {
  const auto planned = std::find_if(life_.planned.begin(), life_.planned.end(),
                                    [&](const auto& plan) { return plan.selector == step.selector; });
  KeyLife life;
  life.key.domain = life_.domain;
  life.key.selector = planned->selector;
  life.key.token = planned->token;
  life.key.cka_id = planned->cka_id;
  life.set = planned->set;
  const auto tried = parts_.store.IsPlanned(life_.domain, step.selector, Text(StateName(step.next)));
  if (!tried) return tried.error();
  Status done = Announce(step, "");
  if (!done) return done;
  // After a crash the pair may be there already.
  auto described = parts_.signer.Find(planned->token, planned->cka_id);
  const bool half = *tried && !described && IsHalfAPair(described.error());
  if (!described && (half || described.error().reason == Reason::kKeyMissing)) {
    if (*tried) {
      const auto member = MemberThatMayHave(parts_.signer, *planned);
      if (member) return PlanAnew(*planned, *member);
    }
    described = parts_.signer.Generate(planned->token, {planned->kind.algorithm, planned->kind.bits}, planned->cka_id,
                                       RecordName(life.key));
  }
  if (!described) return described.error();
  auto public_key = UsablePublicKey(*described);
  if (!public_key) return public_key.error();
  life.key.public_key = std::move(*public_key);
  life.key.state = KeyState::kGenerated;
  life.key.created = life.key.state_since = now_;
  RotationCommit commit;
  commit.domain = life_.domain;
  commit.events.push_back({0, life_.domain, step.selector, "key", "", Text(StateName(KeyState::kGenerated)), step.due,
                           now_, Text(kByPolicy), "in token " + planned->token});
  commit.made = std::move(life);
  return Finish(commit);
}

Status StepMaker::Publish(const Step& step, const KeyLife& key) {
  KeyLife after = key;
  Status done = Announce(step, StateName(key.key.state));
  if (done) done = ChoosePlace(after);
  if (done && after.publisher != kManual) done = PutRecord(after, Expected::kKey);
  if (!done) return done;
  RotationCommit commit;
  commit.domain = life_.domain;
  done = AddChange(commit, step, std::move(after), Act::kPublish);
  return done ? parts_.store.CommitRotation(commit) : done;
}

Status StepMaker::Doubt(const KeyLife& key, const std::string& why) {
  RotationCommit commit;
  commit.domain = life_.domain;
  KeyLife after = key;
  after.visible_since = {};
  after.key.record = RecordState::kRumoured;
  const Status done =
      AddChange(commit, {Work::kObserve, key.key.selector, KeyState::kPublished, now_, why}, after, Act::kDoubt);
  return done ? parts_.store.CommitRotation(commit) : done;
}

Status StepMaker::Activate(const Step& step) {
  RotationCommit commit;
  commit.domain = life_.domain;
  commit.rotation = life_.rotation;
  commit.rotation->emergency = false;
  const auto set = SetUnderWay(life_);
  Step of_key = step;
  Status done = Ok();
  for (const KeyLife& key : life_.keys) {
    of_key.selector = key.key.selector;
    if (IsSuccessor(key)) {
      of_key.waits_for = life_.rotation.emergency ? "emergency" : "";
      done = Announce(of_key, StateName(key.key.state));
      if (done) done = Prove(key);
      if (!done && done.error().reason == Reason::kRecordNotVisible) {
        const Status doubted = Doubt(key, done.error().message);
        if (!doubted) return doubted;
      }
      if (done) done = AddChange(commit, of_key, key, Act::kActivate);
    } else if (key.key.state == KeyState::kActive && key.set != set) {  // not one that an operator activated by hand
      of_key.waits_for = "its successors sign";
      done = AddChange(commit, of_key, key, Act::kRetire);
    }
    if (!done) return done;
  }
  done = Finish(commit);
  return done ? parts_.publish() : done;
}

Status StepMaker::Revoke(const Step& step, const KeyLife& key) {
  KeyLife after = key;
  Status done = Announce(step, StateName(key.key.state));
  if (done && after.publisher.empty()) {  // made by hand: its record is where the policy says, whoever puts it there
    if (CheckPublisher()) {
      done = ChoosePlace(after);
    } else {
      after.publisher = policy_.publisher;
      after.published_name = PublishedName(key.key, policy_);
    }
  }
  if (done) done = ChangeRecord(after, Expected::kRevoked);
  if (!done) return done;
  after.key.record = RecordState::kUnretentive;
  RotationCommit commit;
  commit.domain = life_.domain;
  done = AddChange(commit, step, std::move(after), Act::kRevoke);
  return done ? Finish(commit) : done;
}

Status StepMaker::Withdraw(const Step& step, const KeyLife& key) {
  KeyLife after = key;
  Status done = Announce(step, StateName(key.key.state));
  if (done) done = ChangeRecord(after, Expected::kNothing);
  if (!done) return done;
  after.key.record = RecordState::kUnretentive;  // until every server was asked: it may have been put there by hand
  after.visible_since = {};
  RotationCommit commit;
  commit.domain = life_.domain;
  done = AddChange(commit, step, std::move(after), Act::kWithdraw);
  return done ? Finish(commit) : done;
}

Status StepMaker::Destroy(const Step& step, const KeyLife& key) {
  Status done = Announce(step, StateName(key.key.state));
  if (!done) return done;
  const auto others = parts_.store.CountOthers(key.key);
  if (!others) return others.error();
  Step noted = step;
  if (*others > 0) {
    noted.waits_for = "the pair stays in the token: it is used elsewhere";
  } else {
    done = parts_.signer.Destroy(key.key.token, key.key.cka_id, key.key.public_key->Spki());
    if (!done) return done;
    noted.waits_for = "its pair is gone from token " + key.key.token;
  }
  RotationCommit commit;
  commit.domain = life_.domain;
  done = AddChange(commit, noted, key, Act::kDestroy);
  return done ? Finish(commit) : done;
}

}  // namespace hallmark::keys
