#include "signerd/policy/policy_convert.h"

#include <algorithm>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/identity.h"
#include "signerd/policy/etag.h"

namespace hallmark::policy {
namespace {

namespace admin = hallmark::admin::v1;

Error Invalid(const std::string& member, std::string_view expected) {
  return MakeError(Reason::kInvalidArgument, member + ": expected " + std::string(expected));
}

admin::PartnerState StateOf(snapshot::PartnerState state) {
  switch (state) {
    case snapshot::PartnerState::kSuspended: return admin::PARTNER_STATE_SUSPENDED;
    case snapshot::PartnerState::kRevoked: return admin::PARTNER_STATE_REVOKED;
    case snapshot::PartnerState::kActive: break;
  }
  return admin::PARTNER_STATE_ACTIVE;
}

admin::Alignment AlignmentOf(snapshot::Alignment alignment) {
  switch (alignment) {
    case snapshot::Alignment::kStrict: return admin::ALIGNMENT_STRICT;
    case snapshot::Alignment::kOff: return admin::ALIGNMENT_OFF;
    case snapshot::Alignment::kRelaxed: break;
  }
  return admin::ALIGNMENT_RELAXED;
}

Status ReadState(const admin::Partner& from, snapshot::Partner& to) {
  switch (from.state()) {
    case admin::PARTNER_STATE_UNSPECIFIED:
    case admin::PARTNER_STATE_ACTIVE: to.state = snapshot::PartnerState::kActive; return Ok();
    case admin::PARTNER_STATE_SUSPENDED: to.state = snapshot::PartnerState::kSuspended; return Ok();
    case admin::PARTNER_STATE_REVOKED: to.state = snapshot::PartnerState::kRevoked; return Ok();
    default: return Invalid("state", "active, suspended or revoked");
  }
}

Status ReadAlignment(const admin::Partner& from, snapshot::Partner& to) {
  switch (from.alignment()) {
    case admin::ALIGNMENT_UNSPECIFIED:
    case admin::ALIGNMENT_RELAXED: to.alignment = snapshot::Alignment::kRelaxed; return Ok();
    case admin::ALIGNMENT_STRICT: to.alignment = snapshot::Alignment::kStrict; return Ok();
    case admin::ALIGNMENT_OFF: to.alignment = snapshot::Alignment::kOff; return Ok();
    default: return Invalid("alignment", "strict, relaxed or off");
  }
}

using Strings = google::protobuf::RepeatedPtrField<std::string>;

Status ReadDomains(const Strings& from, const char* member, snapshot::DomainRules& to) {
  if (from.empty()) return Invalid(member, kDomainsForm);
  if (static_cast<std::size_t>(from.size()) > kMostDomains) return Invalid(member, AtMost(kMostDomains));
  auto rules = snapshot::DomainRules::Parse({from.begin(), from.end()});
  if (!rules) return MakeError(Reason::kInvalidArgument, std::string(member) + ": " + rules.error().message);
  to = std::move(*rules);
  return Ok();
}

Status ReadAddresses(const admin::Partner& from, snapshot::Partner& to) {
  if (static_cast<std::size_t>(from.addresses_size()) > kMostAddresses) {
    return Invalid("addresses", AtMost(kMostAddresses));
  }
  for (const std::string& text : from.addresses()) {
    auto pattern = snapshot::AddressPattern::Parse(text);
    if (!pattern) return MakeError(Reason::kInvalidArgument, "addresses: " + pattern.error().message);
    to.addresses.push_back(std::move(*pattern));
  }
  // As a set: an order would only make two policies differ that say the same.
  const auto text_less = [](const auto& a, const auto& b) { return a.text() < b.text(); };
  std::sort(to.addresses.begin(), to.addresses.end(), text_less);
  to.addresses.erase(std::unique(to.addresses.begin(), to.addresses.end()), to.addresses.end());
  return Ok();
}

bool InRange(std::uint64_t number, std::int64_t most) { return number <= static_cast<std::uint64_t>(most); }

Status ReadLimits(const admin::Partner& from, snapshot::Partner& to) {
  const admin::Quota& quota = from.quota();
  if (!InRange(quota.rate_per_second(), kMostRate)) return Invalid("quota.rate_per_second", "at most 1000000");
  if (!InRange(quota.burst(), kMostRate)) return Invalid("quota.burst", "at most 1000000");
  if (quota.burst() != 0 && quota.rate_per_second() == 0) return Invalid("quota.burst", "a rate_per_second with it");
  for (const auto& [number, member] : {std::pair(from.message().max_octets(), "message.max_octets"),
                                       std::pair(quota.messages_per_day(), "quota.messages_per_day"),
                                       std::pair(quota.recipients_per_message(), "quota.recipients_per_message"),
                                       std::pair(quota.recipients_per_day(), "quota.recipients_per_day")}) {
    if (!InRange(number, kMostCount)) return Invalid(member, "at most 1000000000000");
  }
  to.message = {from.message().forbid_bcc(), from.message().require_date(), from.message().require_message_id(),
                from.message().max_octets()};
  to.quota = {quota.rate_per_second(), quota.burst(), quota.messages_per_day(), quota.recipients_per_message(),
              quota.recipients_per_day()};
  if (from.weight() < 0 || from.weight() > kMostWeight) return Invalid("weight", "1 to 1000");
  to.weight = from.weight() == 0 ? 1 : from.weight();
  return Ok();
}

Status ReadTime(bool has, const google::protobuf::Timestamp& stamp, const char* member,
                std::optional<std::chrono::sys_seconds>& to) {
  if (!has) return Ok();
  const std::chrono::sys_seconds time{std::chrono::seconds(stamp.seconds())};
  if (!IsTime(time)) return Invalid(member, kTimeForm);
  to = time;
  return Ok();
}

Status ReadDates(const admin::Partner& from, snapshot::Partner& to) {
  Status done = ReadTime(from.has_not_before(), from.not_before(), "not_before", to.not_before);
  if (done) done = ReadTime(from.has_not_after(), from.not_after(), "not_after", to.not_after);
  if (done && to.not_before && to.not_after && *to.not_after <= *to.not_before) {
    return Invalid("not_after", "a time after not_before");
  }
  return done;
}

Status ReadWatch(const admin::Partner& from, snapshot::Partner& to) {
  for (const std::string& kind : from.watch().suspend_on()) {
    if (!IsAlertKind(kind)) return Invalid("watch.suspend_on", kSuspendOnForm);
    to.watch.suspend_on.insert(kind);
  }
  to.watch.hard_limit_per_minute = from.watch().hard_limit_per_minute();
  if (to.watch.hard_limit_per_minute < 0 || to.watch.hard_limit_per_minute > kMostCount) {
    return Invalid("watch.hard_limit_per_minute", "a number that is not negative");
  }
  return Ok();
}

void SetTime(const std::optional<std::chrono::sys_seconds>& time, google::protobuf::Timestamp* (admin::Partner::*to)(),
             admin::Partner& partner) {
  if (time) (partner.*to)()->set_seconds(time->time_since_epoch().count());
}

Error Within(const std::string& what, const Error& error) {
  return MakeError(error.reason, what + ": " + error.message);
}

Error Whole(const std::string& sentence) { return MakeError(Reason::kInvalidArgument, sentence); }

Status AddPartners(const admin::Policy& from, const snapshot::Policy& present, snapshot::Policy& to) {
  for (const admin::Partner& entry : from.partners()) {
    auto partner = FromApi(entry);
    if (!partner) return Within("partner " + entry.name().substr(0, 63), partner.error());
    const auto known = present.partners.find(partner->name);
    if (entry.state() == admin::PARTNER_STATE_UNSPECIFIED && known != present.partners.end()) {
      partner->state = known->second.state;
    }
    const std::string name = partner->name;
    if (!to.partners.emplace(name, std::move(*partner)).second) return Whole("partner " + name + " is there twice");
  }
  const auto own = to.partners.find(std::string(snapshot::kOwn));
  if (own == to.partners.end()) return Whole("partner own is missing: it is the organisation itself");
  if (own->second.state == snapshot::PartnerState::kRevoked) return Whole("partner own cannot be revoked: suspend it");
  return Ok();
}

Status AddRelays(const admin::Policy& from, const snapshot::Policy& present, snapshot::Policy& to) {
  std::map<std::string, std::string> names;  // by identity
  for (const admin::Relay& entry : from.relays()) {
    auto relay = FromApi(entry);
    if (!relay) return Within("relay " + entry.name().substr(0, 63), relay.error());
    const auto known = present.relays.find(relay->name);
    if (entry.state() == admin::RELAY_STATE_UNSPECIFIED && known != present.relays.end()) {
      relay->state = known->second.state;
    }
    for (const std::string& partner : relay->partners) {
      if (!to.partners.contains(partner))
        return Whole("relay " + relay->name + ": partners: there is no partner " + partner);
    }
    const auto [other, is_new] = names.emplace(relay->identity, relay->name);
    if (!is_new) return Whole("relays " + other->second + " and " + relay->name + " have one identity");
    const std::string name = relay->name;
    if (!to.relays.emplace(name, std::move(*relay)).second) return Whole("relay " + name + " is there twice");
  }
  return Ok();
}

}  // namespace

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= 63 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

bool IsIdentity(std::string_view text) {
  return (text.starts_with("dns:") || text.starts_with("uri:")) && text.size() > 4 && text.size() <= 2048 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool IsTime(std::chrono::sys_seconds time) {
  constexpr std::chrono::sys_seconds kEndOf9999{std::chrono::seconds(253'402'300'799)};  // the last of RFC 3339
  return time > std::chrono::sys_seconds{} && time <= kEndOf9999;
}

std::string AtMost(std::size_t most) { return "at most " + std::to_string(most); }

bool IsAlertKind(std::string_view text) {
  constexpr std::string_view kKinds[] = {"SURGE",       "DORMANT_DOMAIN", "REFUSAL_BURST", "AUTHOR_CHANGE",
                                         "SIZE_CHANGE", "HARD_LIMIT",     "OFF_HOURS"};
  return std::find(std::begin(kKinds), std::end(kKinds), text) != std::end(kKinds);
}

admin::Partner ToApi(const snapshot::Partner& partner) {
  admin::Partner out;
  out.set_name(partner.name);
  out.set_state(StateOf(partner.state));
  for (const auto& rule : partner.author_domains.texts()) out.add_author_domains(rule);
  for (const auto& rule : partner.signing_domains.texts()) out.add_signing_domains(rule);
  for (const auto& pattern : partner.addresses) out.add_addresses(pattern.text());
  out.set_alignment(AlignmentOf(partner.alignment));
  admin::MessageRules& message = *out.mutable_message();
  message.set_forbid_bcc(partner.message.forbid_bcc);
  message.set_require_date(partner.message.require_date);
  message.set_require_message_id(partner.message.require_message_id);
  message.set_max_octets(partner.message.max_octets);
  admin::Quota& quota = *out.mutable_quota();
  quota.set_rate_per_second(partner.quota.rate_per_second);
  quota.set_burst(partner.quota.burst);
  quota.set_messages_per_day(partner.quota.messages_per_day);
  quota.set_recipients_per_message(partner.quota.recipients_per_message);
  quota.set_recipients_per_day(partner.quota.recipients_per_day);
  SetTime(partner.not_before, &admin::Partner::mutable_not_before, out);
  SetTime(partner.not_after, &admin::Partner::mutable_not_after, out);
  out.set_weight(static_cast<std::int32_t>(partner.weight));
  for (const auto& kind : partner.watch.suspend_on) out.mutable_watch()->add_suspend_on(kind);
  out.mutable_watch()->set_hard_limit_per_minute(partner.watch.hard_limit_per_minute);
  return out;
}

admin::Relay ToApi(const snapshot::Relay& relay) {
  admin::Relay out;
  out.set_name(relay.name);
  out.set_identity(relay.identity);
  for (const auto& partner : relay.partners) out.add_partners(partner);
  std::sort(out.mutable_partners()->begin(), out.mutable_partners()->end());
  out.set_state(relay.state == snapshot::RelayState::kRevoked ? admin::RELAY_STATE_REVOKED : admin::RELAY_STATE_ACTIVE);
  return out;
}

admin::Policy ToApi(const snapshot::Policy& policy) {
  admin::Policy out;
  for (const auto& [name, partner] : policy.partners) *out.add_partners() = ToApi(partner);
  for (const auto& [name, relay] : policy.relays) *out.add_relays() = ToApi(relay);
  return out;
}

Result<snapshot::Partner> FromApi(const admin::Partner& in) {
  if (!IsName(in.name())) return Invalid("name", kNameForm);
  snapshot::Partner partner;
  partner.name = in.name();
  Status done = ReadState(in, partner);
  if (done) done = ReadDomains(in.author_domains(), "author_domains", partner.author_domains);
  if (done) done = ReadDomains(in.signing_domains(), "signing_domains", partner.signing_domains);
  if (done) done = ReadAddresses(in, partner);
  if (done) done = ReadAlignment(in, partner);
  if (done) done = ReadLimits(in, partner);
  if (done) done = ReadDates(in, partner);
  if (done) done = ReadWatch(in, partner);
  if (!done) return done.error();
  return partner;
}

Result<snapshot::Relay> FromApi(const admin::Relay& in) {
  if (!IsName(in.name())) return Invalid("name", kNameForm);
  if (!IsIdentity(in.identity())) return Invalid("identity", kIdentityForm);
  snapshot::Relay relay;
  relay.name = in.name();
  relay.identity = NormalIdentity(in.identity());
  relay.partners.insert(in.partners().begin(), in.partners().end());
  if (relay.partners.empty()) return Invalid("partners", "the names of one partner or more");
  switch (in.state()) {
    case admin::RELAY_STATE_UNSPECIFIED:
    case admin::RELAY_STATE_ACTIVE: break;
    case admin::RELAY_STATE_REVOKED: relay.state = snapshot::RelayState::kRevoked; break;
    default: return Invalid("state", "active or revoked");
  }
  return relay;
}

Result<snapshot::Policy> FromApi(const admin::Policy& in, const snapshot::Policy& present) {
  snapshot::Policy policy;
  Status done = AddPartners(in, present, policy);
  if (done) done = AddRelays(in, present, policy);
  if (!done) return done.error();
  return policy;
}

std::string Etag(const snapshot::Policy& policy) { return EtagOf(ToApi(policy)); }

}  // namespace hallmark::policy
