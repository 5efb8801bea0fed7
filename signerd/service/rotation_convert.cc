#include "signerd/service/rotation_convert.h"

#include <algorithm>

#include "firmware/runtime/printable.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/key_record.h"
#include "signerd/keys/rotation_policy.h"
#include "signerd/policy/etag.h"
#include "signerd/service/admin_convert.h"
#include "signerd/service/request_json.h"

namespace hallmark::service {

namespace admin = hallmark::admin::v1;

namespace {

using std::chrono::sys_seconds;

// Octets of what a server says: room for the record of an RSA key of 4096 bits.
constexpr std::size_t kShown = 1000;

void SetTime(google::protobuf::Timestamp* out, sys_seconds time) { out->set_seconds(time.time_since_epoch().count()); }

bool IsKnown(sys_seconds time) { return time != sys_seconds{} && time < keys::kNever; }

admin::KeyAlgorithm AlgorithmOf(const store::KeyKind& kind) {
  switch (kind.algorithm) {
    case dkim::Algorithm::kEd25519Sha256: return admin::KEY_ALGORITHM_ED25519;
    case dkim::Algorithm::kRsaSha256: break;
  }
  switch (kind.bits) {
    case 3072: return admin::KEY_ALGORITHM_RSA_3072;
    case 4096: return admin::KEY_ALGORITHM_RSA_4096;
    default: return admin::KEY_ALGORITHM_RSA_2048;
  }
}

void AddSeen(const keys::Seen& seen, const store::KeyLife& key, admin::KeyProgress& progress) {
  SetTime(progress.mutable_observe_time(), seen.time);
  for (const keys::ServerView& server : seen.view.servers) {
    admin::ServerAnswer& answer = *progress.add_servers();
    answer.set_server(Printable(server.server, kShown));
    answer.set_says(std::string(keys::Says(server, *key.key.public_key, keys::ExpectedOf(key))));
    const bool shows_value = server.detail.empty() && !server.values.empty();
    answer.set_detail(Printable(shows_value ? server.values.front() : server.detail, kShown));
  }
}

std::string RecordValueOf(const store::KeyLife& key) {
  switch (keys::ExpectedOf(key)) {
    case keys::Expected::kKey: return dkim::KeyRecordValue(*key.key.public_key);
    case keys::Expected::kRevoked: return dkim::RevokedKeyRecordValue(*key.key.public_key);
    case keys::Expected::kNothing: break;
  }
  return "";
}

admin::KeyProgress ProgressOf(const store::KeyLife& key, const keys::RotationView& view) {
  admin::KeyProgress progress;
  *progress.mutable_key() = ToApi(key.key);
  progress.set_record_name(key.published_name.empty() ? keys::PublishedName(key.key, view.policy) : key.published_name);
  progress.set_record_value(RecordValueOf(key));
  if (IsKnown(key.visible_since)) SetTime(progress.mutable_visible_since(), key.visible_since);
  progress.set_longest_ttl_seconds(key.longest_ttl.count());
  progress.set_negative_ttl_seconds(key.negative_ttl.count());
  const auto seen = view.seen.find(key.key.selector);
  if (seen != view.seen.end() && IsKnown(seen->second.time)) AddSeen(seen->second, key, progress);
  for (const keys::Step& step : view.steps) {
    if (step.selector != key.key.selector) continue;
    progress.set_next_state(ToApi(step.next));
    if (IsKnown(step.due)) SetTime(progress.mutable_next_time(), step.due);
    progress.set_waits_for(step.waits_for);
  }
  return progress;
}

// A step in words.
std::string TextOf(const keys::Step& step) {
  switch (step.work) {
    case keys::Work::kPlan: return "begin a rotation";
    case keys::Work::kGenerate: return "make " + step.selector;
    case keys::Work::kPublish: return "publish " + step.selector;
    case keys::Work::kObserve: return "see " + step.selector + " in DNS";
    case keys::Work::kActivate: return "sign with the new keys";
    case keys::Work::kRevoke: return "revoke " + step.selector;
    case keys::Work::kWithdraw: return "withdraw " + step.selector;
    case keys::Work::kDestroy: return "destroy " + step.selector;
  }
  return "";
}

}  // namespace

admin::RotationPolicy ToApi(const store::RotationPolicy& policy) {
  admin::RotationPolicy out;
  out.set_domain(policy.domain);
  out.set_on_demand(policy.on_demand);
  for (const auto& kind : policy.algorithms) out.add_algorithms(AlgorithmOf(kind));
  out.set_lifetime_seconds(policy.lifetime.count());
  out.set_propagation_seconds(policy.propagation.count());
  out.set_retire_seconds(policy.retire.count());
  out.set_revoked_seconds(policy.revoked.count());
  out.set_trash_seconds(policy.trash.count());
  out.set_record_ttl_seconds(policy.record_ttl.count());
  out.set_selector(policy.selector);
  out.set_publisher(policy.publisher);
  out.set_delegation(policy.delegation);
  out.set_token(policy.token);
  out.set_backup_waiver(policy.backup_waiver);
  out.set_backup_waived_by(policy.backup_waived_by);
  if (IsKnown(policy.backup_waived)) SetTime(out.mutable_backup_waived_time(), policy.backup_waived);
  out.set_etag(policy::EtagOf(out));
  return out;
}

Result<store::RotationPolicy> FromApi(const admin::RotationPolicy& policy) {
  store::RotationPolicy out;
  if (!policy.domain().empty()) {
    const auto domain = dkim::NormalizeDomain(policy.domain());
    if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
    out.domain = *domain;
  }
  out.on_demand = policy.on_demand();
  if (policy.algorithms_size() > 0) out.algorithms.clear();
  for (const int algorithm : policy.algorithms()) {
    const auto spec = FromApi(static_cast<admin::KeyAlgorithm>(algorithm));
    if (!spec) return spec.error();
    out.algorithms.push_back({spec->algorithm, spec->bits});
  }
  const auto set = [](std::int64_t given, std::chrono::seconds& field) {
    if (given != 0) field = std::chrono::seconds(given);
  };
  set(policy.lifetime_seconds(), out.lifetime);
  set(policy.propagation_seconds(), out.propagation);
  set(policy.retire_seconds(), out.retire);
  set(policy.revoked_seconds(), out.revoked);
  set(policy.trash_seconds(), out.trash);
  set(policy.record_ttl_seconds(), out.record_ttl);
  if (!policy.selector().empty()) out.selector = policy.selector();
  if (!policy.publisher().empty()) out.publisher = policy.publisher();
  if (!policy.delegation().empty()) {
    const auto zone = dkim::NormalizeDomain(policy.delegation());
    if (!zone) return MakeError(zone.error().reason, "delegation: " + zone.error().message);
    out.delegation = *zone;
  }
  out.token = policy.token();
  out.backup_waiver = policy.backup_waiver();
  const Status valid = keys::ValidatePolicy(out);
  if (!valid) return valid.error();
  return out;
}

admin::Rotation ToApi(const keys::RotationView& view) {
  admin::Rotation out;
  out.set_domain(view.life.domain);
  *out.mutable_policy() = ToApi(view.policy);
  out.mutable_policy()->set_inherited(view.inherited);
  out.set_paused(view.life.rotation.paused);
  out.set_pause_reason(view.life.rotation.pause_reason);
  out.set_under_way(keys::SetUnderWay(view.life).has_value());
  out.set_compromised(std::any_of(view.life.keys.begin(), view.life.keys.end(), [](const store::KeyLife& key) {
    return key.fate == store::Fate::kSuspected || key.fate == store::Fate::kCompromised;
  }));
  for (const store::KeyLife& key : view.life.keys) *out.add_keys() = ProgressOf(key, view);
  const auto next = std::min_element(view.steps.begin(), view.steps.end(),
                                     [](const auto& a, const auto& b) { return a.due < b.due; });
  if (next != view.steps.end()) {
    out.set_next(TextOf(*next));
    if (IsKnown(next->due)) SetTime(out.mutable_next_time(), next->due);
    out.set_waits_for(next->waits_for);
  }
  if (view.life.rotation.paused) out.set_waits_for("it is paused: " + view.life.rotation.pause_reason);
  out.set_trouble(view.trouble);
  if (!view.trouble.empty()) SetTime(out.mutable_trouble_since(), view.trouble_since);
  return out;
}

admin::KeyEvent ToApi(const store::KeyEvent& event) {
  admin::KeyEvent out;
  out.set_id(event.id);
  out.set_domain(event.domain);
  out.set_selector(event.selector);
  out.set_axis(event.axis);
  out.set_from(event.from);
  out.set_to(event.to);
  SetTime(out.mutable_planned_time(), event.planned);
  if (IsKnown(event.done)) SetTime(out.mutable_done_time(), event.done);
  out.set_by(event.by);
  out.set_note(event.note);
  return out;
}

hallmark::ledger::v1::Record ToLedgerRecord(const store::KeyEvent& step, const std::string& outcome) {
  hallmark::ledger::v1::Record record;
  auto& act = *record.mutable_admin_act();
  act.set_operator_(step.by);
  act.set_method("KeyStep");
  SetRequest(ShowRequest(ToApi(step)), act);
  act.set_outcome(outcome);
  act.set_count(1);
  return record;
}

}  // namespace hallmark::service
