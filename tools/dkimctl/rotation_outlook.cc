#include "tools/dkimctl/rotation_outlook.h"

#include "signerd/keys/rotation_values.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/rotation_text.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;

// What is done towards new keys, and once which sign.
std::string Beginning(const api::Rotation& rotation, bool compromised) {
  if (rotation.under_way() && compromised) {
    return "hurry the rotation of " + rotation.domain() +
           " that is under way: sign with its keys once every authoritative server has their records, and wait for no "
           "caches";
  }
  std::string algorithms;
  for (const int algorithm : rotation.policy().algorithms()) {
    algorithms += (algorithms.empty() ? "" : " and ") + NameOf(static_cast<api::KeyAlgorithm>(algorithm));
  }
  const std::string text = "make new keys (" + algorithms + ") for " + rotation.domain() + ", publish them (" +
                           rotation.policy().publisher() +
                           "), sign with them once every authoritative server has their records";
  if (compromised) return text;
  return text + " and caches had " + DurationText(rotation.policy().propagation_seconds()) + " and the TTLs";
}

// Somebody asked for one, and something keeps it from being begun.
bool IsAskedFor(const api::Rotation& rotation) {
  return rotation.next() == "begin a rotation" && rotation.waits_for().starts_with("asked for by ");
}

}  // namespace

std::string SelectorsIn(const api::Rotation& rotation, api::KeyState state) {
  std::string text;
  for (const auto& progress : rotation.keys()) {
    if (progress.key().state() != state) continue;
    text += (text.empty() ? "" : ", ") + progress.key().selector();
  }
  return text;
}

std::string RotationIntent(const api::Rotation& rotation, bool compromised) {
  std::string text = Beginning(rotation, compromised);
  const std::string old = SelectorsIn(rotation, api::KEY_STATE_ACTIVE);
  if (!old.empty() && !compromised) {
    text += "; " + old + " then retires and is revoked after " + DurationText(rotation.policy().retire_seconds());
  }
  if (!old.empty() && compromised) {
    text += "; " + old +
            " would count as known to others at once: no rollback brings them back, and they are revoked as soon as a "
            "second officer approves";
  }
  // Which of them are said to be known to others, the answer does not tell.
  const std::string replaced = SelectorsIn(rotation, api::KEY_STATE_RETIRING);
  if (compromised && rotation.compromised() && !replaced.empty()) {
    text += "; but where " + replaced +
            " wait for a second officer already, it begins nothing, and asks once more to have them revoked";
  }
  return text;
}

std::string RefusalOfRotation(const api::Rotation& rotation, bool compromised) {
  const std::string& domain = rotation.domain();
  if (!compromised && (rotation.under_way() || IsAskedFor(rotation))) {
    return "STATE_CONFLICT: a rotation of " + domain + " is under way: see dkimctl key status " + domain;
  }
  if (!rotation.paused()) return "";
  return "STATE_CONFLICT: the rotation of " + domain + " is paused (" + rotation.pause_reason() +
         "): resume it first: dkimctl key resume " + domain;
}

Answer<void> JudgePolicy(const api::RotationPolicy& policy) {
  using std::chrono::seconds;
  keys::RotationValues values{.lifetime = seconds(policy.lifetime_seconds()),
                              .propagation = seconds(policy.propagation_seconds()),
                              .retire = seconds(policy.retire_seconds()),
                              .revoked = seconds(policy.revoked_seconds()),
                              .trash = seconds(policy.trash_seconds()),
                              .record_ttl = seconds(policy.record_ttl_seconds()),
                              .selector = policy.selector(),
                              .delegation = policy.delegation(),
                              .backup_waiver = policy.backup_waiver()};
  for (const int algorithm : policy.algorithms()) {
    values.algorithms.push_back(algorithm == api::KEY_ALGORITHM_ED25519 ? dkim::Algorithm::kEd25519Sha256
                                                                        : dkim::Algorithm::kRsaSha256);
  }
  const Status taken = keys::CheckRotationValues(values);
  if (!taken) return Failed("INVALID_ARGUMENT: " + taken.error().message);
  return {};
}

}  // namespace hallmark::ctl
