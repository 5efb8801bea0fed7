#include <openssl/rand.h>

#include <algorithm>

#include "firmware/runtime/log.h"
#include "signerd/dkim/key_record.h"
#include "signerd/dkim/sha256.h"
#include "signerd/keys/steps.h"

// The part of the steps that asks the name servers for a key's record, and changes it there.
namespace hallmark::keys {

using snapshot::KeyState;
using snapshot::RecordState;
using store::KeyLife;
using store::RotationCommit;

Status StepMaker::CheckPublisher() const {
  if (policy_.publisher == kManual || parts_.publisher.HasPublisher(policy_.publisher)) return Ok();
  return MakeError(Reason::kNotFound,
                   "the policy names the publisher " + policy_.publisher + ", which is not configured");
}

// An empty p= is not ours to replace with a key: whoever revoked it knew more than a state that was restored since.
Status StepMaker::PutRecord(const KeyLife& key, Expected value) {
  const auto& public_key = *key.key.public_key;
  const bool revokes = value == Expected::kRevoked;
  const std::string text = revokes ? dkim::RevokedKeyRecordValue(public_key) : dkim::KeyRecordValue(public_key);
  const Status done = parts_.publisher.Put(key.publisher, key.published_name, text, policy_.record_ttl,
                                           revokes ? OwnValues(public_key) : std::vector{text});
  if (done || done.error().reason != Reason::kRecordConflict) return done;
  const auto verdict = Look(key, value);
  if (!verdict) return done;
  if (revokes) return verdict->everywhere ? Ok() : done;  // a person did it, in other words
  // Whoever is told to remove what is not ours would have such a key verify again.
  if (!SaysRevoked(seen_[key.key.selector].view)) return done;
  return MakeError(Reason::kRecordConflict, RecordName(key.key) +
                                                ": its record says that it is revoked (an empty p=), and is left so; "
                                                "new keys: dkimctl key rotate " +
                                                life_.domain + " --compromised");
}

Status StepMaker::RemoveRecord(const KeyLife& key) {
  const Status done = parts_.publisher.Remove(key.publisher, key.published_name, OwnValues(*key.key.public_key));
  // What someone else has there is not ours to remove; whether ours is gone is what the servers say.
  return !done && done.error().reason == Reason::kRecordConflict ? Ok() : done;
}

bool StepMaker::IsOrphaned(const KeyLife& key) const {
  return !key.publisher.empty() && key.publisher != kManual && !parts_.publisher.HasPublisher(key.publisher);
}

Status StepMaker::ChangeRecord(KeyLife& key, Expected value) {
  // Where the policy names none that is there either, a person has to, as with manual, until it does.
  if (IsOrphaned(key) && CheckPublisher()) {
    const Status chosen = ChoosePlace(key);
    if (!chosen) return chosen;
  }
  if (key.publisher.empty() || key.publisher == kManual || IsOrphaned(key)) return Ok();
  return value == Expected::kNothing ? RemoveRecord(key) : PutRecord(key, value);
}

// What follows may be put there: after a crash, and under another policy, it is known where it may be.
Status StepMaker::ChoosePlace(KeyLife& key) {
  KeyLife chosen = key;
  chosen.publisher = policy_.publisher;
  chosen.published_name = PublishedName(key.key, policy_);
  if (chosen.publisher == key.publisher && chosen.published_name == key.published_name) return Ok();
  const Status publishes = CheckPublisher();
  if (!publishes) return publishes;
  if (!key.publisher.empty() && key.publisher != kManual) {
    const Status removed = RemoveRecord(key);
    // The old place may be gone for good, and the policy be changed for that reason; or only who publishes there.
    if (!removed && (chosen.published_name != key.published_name || !IsOrphaned(key)))
      log::warn("{}: a record may be left at {}: {}", life_.domain, key.published_name, removed.error().message);
  }
  RotationCommit commit;
  commit.domain = life_.domain;
  commit.keys.push_back({chosen, key.key.state});
  const Status done = parts_.store.CommitRotation(commit);
  if (done) key = std::move(chosen);
  return done;
}

Result<Verdict> StepMaker::Look(const KeyLife& key, Expected expected) {
  auto view = parts_.observer.Observe(RecordName(key.key));
  Seen& seen = seen_[key.key.selector];
  seen.time = now_;
  if (!view) {
    seen.view = {};
    seen.problem = view.error().message;
    return view.error();
  }
  Verdict verdict = Judge(*view, *key.key.public_key, expected);
  seen.view = std::move(*view);
  seen.problem = verdict.problem;
  if (!seen.problem.empty() && IsOrphaned(key))
    seen.problem += "; its publisher " + key.publisher + " is not in the configuration";
  return verdict;
}

Status StepMaker::Confirm(const Step& step, const KeyLife& key) {
  const auto verdict = Look(key, Expected::kKey);
  if (!verdict) return verdict.error();
  const RecordView& view = seen_[key.key.selector].view;
  KeyLife after = key;
  after.longest_ttl = std::max(key.longest_ttl, view.longest_ttl);
  after.negative_ttl = std::max(key.negative_ttl, view.negative_ttl);
  if (!verdict->everywhere) {
    const bool somewhere = std::any_of(view.servers.begin(), view.servers.end(), [&](const ServerView& server) {
      return Says(server, *key.key.public_key, Expected::kKey) == "expected";
    });
    after.key.record = somewhere ? RecordState::kRumoured : RecordState::kAbsent;
    // From the first moment again: a resolver may have learnt now that there is no such name.
    if (verdict->contradicted) after.visible_since = {};
    Status done = CommitRecord(key, after);
    // Someone may have taken it away by hand.
    if (done && verdict->contradicted) done = ChangeRecord(after, Expected::kKey);
    return done ? MakeError(Reason::kRecordNotVisible, RecordName(key.key) + ": " + verdict->problem) : done;
  }
  if (key.visible_since == std::chrono::sys_seconds{}) {
    after.visible_since = now_;
    after.key.record = RecordState::kRumoured;
    return CommitRecord(key, after);
  }
  // A TTL that was longer than any seen before makes the wait longer.
  const auto waited =
      life_.rotation.emergency ? std::chrono::seconds(0) : after.longest_ttl + after.negative_ttl + policy_.propagation;
  if (key.visible_since + waited > now_) return CommitRecord(key, after);
  after.key.record = RecordState::kVisible;
  RotationCommit commit;
  commit.domain = life_.domain;
  const Status done = AddChange(commit, step, std::move(after), Act::kConfirm);
  return done ? parts_.store.CommitRotation(commit) : done;
}

Status StepMaker::CommitRecord(const KeyLife& before, const KeyLife& after) {
  if (before.key.record == after.key.record && before.visible_since == after.visible_since &&
      before.longest_ttl == after.longest_ttl && before.negative_ttl == after.negative_ttl) {
    return Ok();
  }
  RotationCommit commit;
  commit.domain = life_.domain;
  AddRecordEvent(commit, before, after);
  commit.keys.push_back({after, before.key.state});
  return parts_.store.CommitRotation(commit);
}

Status StepMaker::Prove(const KeyLife& key) {
  const auto verdict = Look(key, Expected::kKey);
  if (!verdict) return verdict.error();
  if (!verdict->everywhere) {
    return MakeError(verdict->contradicted ? Reason::kRecordNotVisible : Reason::kDnsUnavailable,
                     RecordName(key.key) + ": " + verdict->problem);
  }
  std::string text(32, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(text.data()), static_cast<int>(text.size())) != 1) {
    return MakeError(Reason::kInternal, "no random octets for a test signature");
  }
  const auto signature = parts_.signer.Sign(std::make_shared<const snapshot::Key>(key.key), text);
  if (!signature) return signature.error();
  const dkim::Digest digest = dkim::Sha256Of(text);
  for (const ServerView& server : seen_[key.key.selector].view.servers) {
    for (const std::string& value : server.values) {
      const auto published = PublishedKey(value);
      if (!published) return published.error();
      if (!published->Verify(digest, *signature)) {
        return MakeError(Reason::kSignatureInvalid, "a test signature with " + key.key.selector +
                                                        " does not verify with the key that " + server.server +
                                                        " gives");
      }
    }
  }
  return Ok();
}

Status StepMaker::Watch(const KeyLife& key, bool put_right) {
  const Expected expected = ExpectedOf(key);
  const auto verdict = Look(key, expected);
  if (!verdict) return verdict.error();
  Seen& seen = seen_[key.key.selector];
  KeyLife after = key;
  if (key.key.state == KeyState::kPublished) {  // in the middle of its wait
    if (!verdict->contradicted) return Ok();
    after.visible_since = {};
    after.key.record = RecordState::kRumoured;
    return CommitRecord(key, after);
  }
  if (expected == Expected::kNothing) {
    const bool ours = std::any_of(seen.view.servers.begin(), seen.view.servers.end(), [&](const ServerView& server) {
      return std::any_of(server.values.begin(), server.values.end(), [&](const std::string& value) {
        return IsRevokedRecord(value) || IsRecordOf(value, *key.key.public_key);
      });
    });
    using Kind = ServerView::Kind;
    const bool unknown = seen.view.servers.empty() ||
                         std::any_of(seen.view.servers.begin(), seen.view.servers.end(), [](const ServerView& server) {
                           return server.kind == Kind::kSilent || server.kind == Kind::kBogus;
                         });
    if (!ours && !unknown) {
      seen.problem.clear();
      after.key.record = RecordState::kAbsent;
      return CommitRecord(key, after);
    }
    return put_right && ours ? ChangeRecord(after, expected) : Ok();
  }
  if (verdict->everywhere) {
    after.key.record = RecordState::kVisible;
    return CommitRecord(key, after);
  }
  if (!verdict->contradicted) return Ok();
  if (key.key.record == RecordState::kVisible) {
    after.key.record = expected == Expected::kKey ? RecordState::kRumoured : RecordState::kUnretentive;
    const Status done = CommitRecord(key, after);
    if (!done) return done;
  }
  return put_right ? ChangeRecord(after, expected) : Ok();
}

}  // namespace hallmark::keys
