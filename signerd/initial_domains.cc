#include "signerd/initial_domains.h"

#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"
#include "signerd/dkim/key_record.h"
#include "signerd/keys/rotation_policy.h"
#include "signerd/keys/rotator.h"

namespace hallmark {
namespace {

constexpr const char* kBy = "hallmark.toml";

}  // namespace

Status PutInitialRotation(store::Store& store, const std::optional<store::RotationPolicy>& policy) {
  if (!policy) return Ok();
  const auto present = store.GetRotationPolicy("");
  if (!present) return present.error();
  return *present ? Ok() : store.PutRotationPolicy(*policy);
}

Status PutInitialDomains(store::Store& store, const std::vector<InitialDomain>& domains, const Clock& clock) {
  for (const InitialDomain& domain : domains) {
    const Status put = store.InsertDomain({domain.name, "default", clock.Now()});
    if (!put && put.error().reason != Reason::kAlreadyExists) return put;
    // What an operator has changed since stays, and so does a domain of before.
    const auto life = store.GetDomainLife(domain.name);
    if (!life) return life.error();
    if (life->rotation.last_set != 0 || !life->keys.empty()) continue;
    auto policy = keys::PolicyOf(store, domain.name);
    if (!policy) return policy.error();
    if (policy->domain == domain.name || policy->algorithms == domain.algorithms) continue;
    policy->domain = domain.name;
    policy->algorithms = domain.algorithms;
    if (const Status set = store.PutRotationPolicy(*policy); !set) return set;
  }
  return Ok();
}

void RequestInitialKeys(store::Store& store, keys::Rotator& rotator, const std::vector<InitialDomain>& domains) {
  for (const InitialDomain& domain : domains) {
    const auto life = store.GetDomainLife(domain.name);
    const bool fresh = life && life->rotation.last_set == 0 && life->keys.empty() && life->planned.empty() &&
                       life->rotation.wanted == store::Wanted::kNothing && !life->rotation.paused;
    if (life && !fresh) continue;
    const Status asked = life ? rotator.Request(domain.name, true, kBy) : Status(life.error());
    if (!asked) log::warn("{} gets no keys: {}", domain.name, asked.error().message);
  }
}

InitialRecords::InitialRecords(store::Store& store, const std::vector<InitialDomain>& domains,
                               std::filesystem::path file)
    : store_(store), domains_(domains), file_(std::move(file)) {
  std::error_code ignored;
  done_ = domains_.empty() || std::filesystem::exists(file_, ignored);
}

Result<std::string> InitialRecords::Text() {
  std::string text;
  for (const InitialDomain& domain : domains_) {
    const auto life = store_.GetDomainLife(domain.name);
    if (!life) return life.error();
    if (life->keys.empty() || !life->planned.empty() || life->rotation.wanted != store::Wanted::kNothing) return "";
    for (const store::KeyLife& key : life->keys) {
      text += key.key.selector + "._domainkey." + domain.name + ". " +
              std::to_string(store::RotationPolicy{}.record_ttl.count()) + " IN TXT " +
              dkim::ZoneFileTxt(dkim::KeyRecordValue(*key.key.public_key)) + "\n";
    }
  }
  return text;
}

void InitialRecords::Look() {
  if (done_) return;
  const auto text = Text();
  if (text && text->empty()) return;
  const Status written = text ? WriteFileAtomically(file_, *text) : Status(text.error());
  if (!written) log::warn("the DNS records of the first keys: {}", written.error().message);
  done_ = true;
}

}  // namespace hallmark
