#include "tools/dkimctl/posture_subject.h"

#include <algorithm>

#include "hallmark/admin/v1/policy.grpc.pb.h"
#include "tools/posture/kinds.h"

namespace hallmark::ctl {
namespace {

using Stub = AdminClient::Stub;
using Policies = admin::v1::PolicyService::Stub;
namespace kinds = posture::kinds;

posture::KeyUse UseOf(admin::v1::KeyState state) {
  switch (state) {
    case admin::v1::KEY_STATE_READY:
    case admin::v1::KEY_STATE_ACTIVE: return posture::KeyUse::kActive;
    case admin::v1::KEY_STATE_RETIRING: return posture::KeyUse::kRetiring;
    case admin::v1::KEY_STATE_REVOKED: return posture::KeyUse::kRevoked;
    case admin::v1::KEY_STATE_WITHDRAWN:
    case admin::v1::KEY_STATE_DESTROYED: return posture::KeyUse::kWithdrawn;
    default: return posture::KeyUse::kUpcoming;
  }
}

bool IsAtOrBelow(std::string_view name, std::string_view domain) {
  return name == domain || (name.ends_with(domain) && name.substr(0, name.size() - domain.size()).ends_with('.'));
}

// Whether a rule of the policy ("example.com", ".example.com", "*") takes the domain.
bool Covers(std::string_view rule, std::string_view domain) {
  if (rule == "*" || rule == domain) return true;
  return rule.starts_with('.') && IsAtOrBelow(domain, rule.substr(1));
}

// Whether it takes any name below the domain.
bool ReachesBelow(std::string_view rule, std::string_view domain) {
  if (rule == "*") return true;
  if (!rule.starts_with('.')) return rule != domain && IsAtOrBelow(rule, domain);
  return IsAtOrBelow(domain, rule.substr(1)) || IsAtOrBelow(rule.substr(1), domain);
}

bool MayMisalign(const admin::v1::Partner& partner, const std::string& domain) {
  if (partner.state() == admin::v1::PARTNER_STATE_REVOKED || partner.alignment() == admin::v1::ALIGNMENT_STRICT)
    return false;
  const auto& signing = partner.signing_domains();
  const auto& authors = partner.author_domains();
  return std::any_of(signing.begin(), signing.end(), [&](const auto& rule) { return Covers(rule, domain); }) &&
         std::any_of(authors.begin(), authors.end(), [&](const auto& rule) { return ReachesBelow(rule, domain); });
}

void AddSelector(const admin::v1::Key& key, const admin::v1::GetDnsRecordsResponse& records,
                 posture::Subject& subject) {
  const ByteView spki = AsBytes(key.public_key());
  posture::Selector selector{key.selector(), UseOf(key.state()), Bytes(spki.begin(), spki.end()), ""};
  for (const auto& record : records.records()) {
    if (record.selector() == key.selector() && record.name() != posture::SelectorName(key.selector(), subject.domain)) {
      selector.kept_at = record.name();
    }
  }
  const auto named = std::find_if(subject.selectors.begin(), subject.selectors.end(),
                                  [&](const posture::Selector& other) { return other.name == key.selector(); });
  if (named == subject.selectors.end()) {
    subject.selectors.push_back(std::move(selector));
  } else {
    *named = std::move(selector);
  }
}

}  // namespace

Answer<void> AskSignerd(AdminClient& client, posture::Subject& subject, posture::Report& report) {
  admin::v1::GetDomainRequest request;
  request.set_name(subject.domain);
  const auto domain = client.Call(&Stub::GetDomain, request);
  if (!domain) {
    if (domain.error().reason != "NOT_FOUND") return domain.error();
    report.Add(kinds::kDomainNotConfigured, subject.domain, "signerd has no signing domain " + subject.domain);
    return {};
  }
  const auto keys = client.ListKeys(subject.domain);
  if (!keys) return keys.error();
  admin::v1::GetDnsRecordsRequest wanted;
  wanted.set_domain(subject.domain);
  const auto records = client.Call(&Stub::GetDnsRecords, wanted);
  if (!records) return records.error();
  for (const auto& key : keys->keys()) AddSelector(key, *records, subject);
  if (domain->active_key_count() == 0)
    report.Add(kinds::kDkimNoActiveKey, subject.domain, "no key of " + subject.domain + " is active");
  admin::v1::GetSigningProfileRequest named;
  named.set_name(domain->profile());
  const auto profile = client.Call(&Stub::GetSigningProfile, named);
  if (!profile) return profile.error();
  subject.auid = profile->auid();
  const auto policy = client.Call(&Policies::GetPolicy, admin::v1::GetPolicyRequest());
  if (!policy) return policy.error();
  for (const auto& partner : policy->policy().partners()) {
    if (MayMisalign(partner, subject.domain)) subject.misaligned.push_back(partner.name());
  }
  return {};
}

}  // namespace hallmark::ctl
