#include "signerd/service/admin_service.h"

#include <algorithm>

#include "firmware/runtime/time_text.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/key_record.h"
#include "signerd/dkim/profile.h"
#include "signerd/policy/etag.h"
#include "signerd/policy/policy_convert.h"
#include "signerd/service/admin_convert.h"
#include "signerd/service/replay.h"

namespace hallmark::service {
namespace {

template <class T, class Message>
Status Give(const Result<T>& result, Message* message) {
  if (!result) return result.error();
  *message = ToApi(*result);
  return Ok();
}

// One row more than was asked for tells whether there is a next page.
template <class Row, class Add, class Name>
std::string FillPage(std::vector<Row>& rows, std::int64_t most, Add add, Name name) {
  const bool more = static_cast<std::int64_t>(rows.size()) > most;
  if (more) rows.pop_back();
  for (const Row& row : rows) add(row);
  return more ? name(rows.back()) : "";
}

constexpr std::size_t kMostMissing = 10'000;  // an answer must stay one

void AddReading(const std::string& name, admin::HealthLevel level, const std::string& message,
                std::chrono::sys_seconds time, admin::GetStatusResponse& response) {
  admin::HealthReading& reading = *response.add_health();
  reading.set_name(name);
  reading.set_level(level);
  reading.set_message(message);
  reading.mutable_observe_time()->set_seconds(time.time_since_epoch().count());
}

// "keys", "key/DOMAIN/SELECTOR" for each that is in no token, and "copy/DOMAIN/SELECTOR" for each token of a group that
// does not have one.
void AddKeyReadings(const keys::Presence::View& view, admin::GetStatusResponse& response) {
  admin::HealthLevel level = admin::HEALTH_LEVEL_OK;
  std::string message = "no key signed when they were last looked for";
  const std::string of = std::to_string(view.keys) + " keys that sign";
  if (view.time == std::chrono::sys_seconds{}) {
    level = admin::HEALTH_LEVEL_UNKNOWN;
    message = "not looked for in the tokens yet";
  } else if (!view.missing.empty()) {
    level = admin::HEALTH_LEVEL_FAILED;
    message = std::to_string(view.missing.size()) + " of " + of +
              " are not in their tokens; dkimctl key replace-missing makes new ones";
  } else if (view.looked < view.keys) {
    level = admin::HEALTH_LEVEL_UNKNOWN;
    message = "of " + of + " only " + std::to_string(view.looked) + " could be looked for: a token does not answer";
  } else if (!view.partial.empty()) {
    level = admin::HEALTH_LEVEL_WARNING;
    message = "all " + of + " are in a token, some not in each of their group: copy them there";
  } else if (view.keys != 0) {
    message = "all " + of + " are in their tokens";
  }
  AddReading("keys", level, message, view.time, response);
  const auto add = [&](const std::vector<keys::Presence::Missing>& list, const char* kind, admin::HealthLevel how) {
    for (std::size_t i = 0; i < std::min(list.size(), kMostMissing); ++i) {
      AddReading(kind + list[i].domain + "/" + list[i].selector, how, list[i].why, view.time, response);
    }
  };
  add(view.missing, "key/", admin::HEALTH_LEVEL_FAILED);
  add(view.partial, "copy/", admin::HEALTH_LEVEL_WARNING);  // not "key/": nothing is to be made anew for it
  std::sort(response.mutable_health()->begin(), response.mutable_health()->end(),
            [](const auto& a, const auto& b) { return a.name() < b.name(); });
}

}  // namespace

AdminService::AdminService(const Parts& parts) : parts_(parts), started_(parts.clock.Now()) {
  SetReplayOf<admin::RevokeKeyRequest, admin::Key>(
      parts_.gate, "RevokeKey",
      [this](const Caller& caller, const auto& request, auto* response) {
        return DoRevokeKey(caller, request, response);
      },
      Lane::kRotation);
}

Result<std::string> AdminService::ProfileFor(const std::string& domain, const std::string& name) {
  if (name.empty() || name == "default") return std::string("default");
  const auto profile = parts_.store.GetProfile(name);
  if (!profile) return profile.error();
  const Status fits = dkim::CheckAuidFor(*profile, domain);
  if (!fits) return fits.error();
  return name;
}

// A profile that does not fit a domain would have each of its messages refused.
Status AdminService::CheckFitsItsDomains(const dkim::SigningProfile& profile) const {
  const auto view = parts_.snapshot.Get();
  for (const auto& [name, domain] : view->domains) {
    if (domain.profile->name != profile.name) continue;
    const Status fits = dkim::CheckAuidFor(profile, name);
    if (!fits) return MakeError(fits.error().reason, fits.error().message + ", which has this profile");
  }
  return Ok();
}

Status AdminService::ReadDomain(const std::string& name, admin::Domain* domain) {
  const auto normal = dkim::NormalizeDomain(name);
  if (!normal) return normal.error();
  return Give(parts_.store.GetDomain(*normal), domain);
}

Status AdminService::PublishAndRead(const std::string& name, admin::Domain* domain) {
  const Status published = parts_.publish();
  return published ? ReadDomain(name, domain) : published;
}

AdminService::Reactor* AdminService::CreateDomain(Context* context, const admin::CreateDomainRequest* request,
                                                  admin::Domain* response) {
  return parts_.gate.Run(context, {"CreateDomain", Role::kOperator}, *request, [=, this](const Caller&) -> Status {
    const auto name = dkim::NormalizeDomain(request->name());
    if (!name) return MakeError(name.error().reason, "name: " + name.error().message);
    const auto profile = ProfileFor(*name, request->profile());
    if (!profile) return profile.error();
    const Status inserted = parts_.store.InsertDomain({*name, *profile, parts_.clock.Now()});
    if (!inserted) return inserted;
    parts_.poke(*name);
    return PublishAndRead(*name, response);
  });
}

AdminService::Reactor* AdminService::GetDomain(Context* context, const admin::GetDomainRequest* request,
                                               admin::Domain* response) {
  return parts_.gate.Run(context, {"GetDomain", Role::kAuditor}, *request,
                         [=, this](const Caller&) { return ReadDomain(request->name(), response); });
}

AdminService::Reactor* AdminService::ListDomains(Context* context, const admin::ListDomainsRequest* request,
                                                 admin::ListDomainsResponse* response) {
  return parts_.gate.Run(context, {"ListDomains", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    auto page = PageFrom(request->page_size(), request->page_token());
    if (!page) return page.error();
    auto rows = parts_.store.ListDomains({page->after, page->most + 1});
    if (!rows) return rows.error();
    response->set_next_page_token(FillPage(
        *rows, page->most, [&](const store::DomainRow& row) { *response->add_domains() = ToApi(row); },
        [](const store::DomainRow& row) { return row.name; }));
    return Ok();
  });
}

AdminService::Reactor* AdminService::UpdateDomain(Context* context, const admin::UpdateDomainRequest* request,
                                                  admin::Domain* response) {
  return parts_.gate.Run(context, {"UpdateDomain", Role::kOperator}, *request, [=, this](const Caller&) -> Status {
    const auto name = dkim::NormalizeDomain(request->name());
    if (!name) return MakeError(name.error().reason, "name: " + name.error().message);
    const auto profile = ProfileFor(*name, request->profile());
    if (!profile) return profile.error();
    const Status changed = parts_.store.SetDomainProfile(*name, *profile);
    return changed ? PublishAndRead(*name, response) : changed;
  });
}

Status AdminService::GiveWithTokens(const Result<snapshot::Key>& key, admin::Key* response) {
  if (!key) return key.error();
  *response = ToApi(*key);
  for (const std::string& token : parts_.keys.TokensWithout(*key)) response->add_missing_tokens(token);
  return Ok();
}

AdminService::Reactor* AdminService::GenerateKey(Context* context, const admin::GenerateKeyRequest* request,
                                                 admin::Key* response) {
  return parts_.gate.Run(
      context, {"GenerateKey", Role::kOperator, Lane::kToken}, *request, [=, this](const Caller&) -> Status {
        const auto spec = FromApi(request->algorithm());
        if (!spec) return spec.error();
        const auto domain = dkim::NormalizeDomain(request->domain());
        if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
        return GiveWithTokens(parts_.keys.Generate(*domain, request->selector(), *spec, request->token()), response);
      });
}

AdminService::Reactor* AdminService::AdoptKey(Context* context, const admin::AdoptKeyRequest* request,
                                              admin::Key* response) {
  return parts_.gate.Run(
      context, {"AdoptKey", Role::kOperator, Lane::kToken}, *request, [=, this](const Caller&) -> Status {
        const auto domain = dkim::NormalizeDomain(request->domain());
        if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
        const ByteView id = AsBytes(request->cka_id());
        return GiveWithTokens(
            parts_.keys.Adopt(*domain, request->selector(), request->token(), Bytes(id.begin(), id.end())), response);
      });
}

AdminService::Reactor* AdminService::GetKey(Context* context, const admin::GetKeyRequest* request,
                                            admin::Key* response) {
  return parts_.gate.Run(context, {"GetKey", Role::kAuditor, Lane::kToken}, *request,
                         [=, this](const Caller&) -> Status {
                           const auto domain = dkim::NormalizeDomain(request->domain());
                           if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
                           return GiveWithTokens(parts_.store.GetKey(*domain, request->selector()), response);
                         });
}

AdminService::Reactor* AdminService::ListKeys(Context* context, const admin::ListKeysRequest* request,
                                              admin::ListKeysResponse* response) {
  return parts_.gate.Run(context, {"ListKeys", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    std::string domain;
    if (!request->domain().empty()) {
      admin::Domain known;
      const Status exists = ReadDomain(request->domain(), &known);
      if (!exists) return exists;
      domain = known.name();
    }
    auto page = PageFrom(request->page_size(), request->page_token());
    if (!page) return page.error();
    auto rows = parts_.store.ListKeys(domain, {page->after, page->most + 1});
    if (!rows) return rows.error();
    // As they were seen last, for to ask for each would take long.
    const keys::Presence::View seen = parts_.presence.view();
    const auto add = [&](const snapshot::Key& key) {
      admin::Key& out = *response->add_keys() = ToApi(key);
      for (const std::string& token : seen.TokensWithout(key.domain, key.selector)) out.add_missing_tokens(token);
    };
    response->set_next_page_token(
        FillPage(*rows, page->most, add, [](const snapshot::Key& key) { return key.domain + "/" + key.selector; }));
    return Ok();
  });
}

AdminService::Reactor* AdminService::ActivateKey(Context* context, const admin::ActivateKeyRequest* request,
                                                 admin::Key* response) {
  return parts_.gate.Run(
      context, {"ActivateKey", Role::kOperator, Lane::kToken}, *request, [=, this](const Caller& caller) -> Status {
        const auto domain = dkim::NormalizeDomain(request->domain());
        if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
        const auto key = parts_.store.GetKey(*domain, request->selector());
        if (!key) return key.error();
        if (!request->unpublished() && keys::Next(key->state, keys::Act::kActivate)) {
          const Status published = parts_.rotator.CheckPublished(*domain, request->selector());
          if (!published) return published;
        }
        const Status done = Give(parts_.keys.Activate(*domain, request->selector(), caller.name), response);
        parts_.poke(*domain);
        return done;
      });
}

AdminService::Reactor* AdminService::RetireKey(Context* context, const admin::RetireKeyRequest* request,
                                               admin::Key* response) {
  return parts_.gate.Run(
      context, {"RetireKey", Role::kOperator, Lane::kRotation}, *request, [=, this](const Caller& caller) -> Status {
        const auto domain = dkim::NormalizeDomain(request->domain());
        if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
        const Status done =
            Give(parts_.keys.Retire(*domain, request->selector(), request->allow_last(), caller.name), response);
        parts_.poke(*domain);
        return done;
      });
}

Status AdminService::DoRevokeKey(const Caller& caller, const admin::RevokeKeyRequest& request, admin::Key* response) {
  const auto domain = dkim::NormalizeDomain(request.domain());
  if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
  Status may = parts_.keys.CanRevoke(*domain, request.selector());
  if (!may) return may;
  const auto key = parts_.store.GetKey(*domain, request.selector());
  if (!key) return key.error();
  // Since when it is so, for a key that signed again and was retired once more needs another word.
  const std::string name = " the key " + request.selector() + " of " + *domain + ", ";
  const std::string since = " since " + TimeText(key->state_since);
  may = parts_.gate.RequireApproval(
      caller, key->state == snapshot::KeyState::kGenerated
                  ? "gives up" + name + "GENERATED" + since + ", which never signed: its pair is destroyed"
                  : "revokes" + name + "RETIRING" + since + ", after which nothing that it signed verifies");
  if (!may) return may;
  may = Give(parts_.keys.Revoke(*domain, request.selector(), caller.name), response);
  parts_.poke(*domain);
  return may;
}

AdminService::Reactor* AdminService::RevokeKey(Context* context, const admin::RevokeKeyRequest* request,
                                               admin::Key* response) {
  return parts_.gate.Run(context, {"RevokeKey", Role::kOperator, Lane::kRotation}, *request,
                         [=, this](const Caller& caller) { return DoRevokeKey(caller, *request, response); });
}

AdminService::Reactor* AdminService::CreateSigningProfile(Context* context,
                                                          const admin::CreateSigningProfileRequest* request,
                                                          admin::SigningProfile* response) {
  return parts_.gate.Run(context, {"CreateSigningProfile", Role::kOperator}, *request,
                         [=, this](const Caller&) -> Status {
                           const auto profile = FromApi(request->profile());
                           if (!profile) return profile.error();
                           const Status inserted = parts_.store.InsertProfile(*profile);
                           if (!inserted) return inserted;
                           return Give(parts_.store.GetProfile(profile->name), response);
                         });
}

AdminService::Reactor* AdminService::GetSigningProfile(Context* context, const admin::GetSigningProfileRequest* request,
                                                       admin::SigningProfile* response) {
  return parts_.gate.Run(context, {"GetSigningProfile", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    if (request->name() == "default") return Give(Result<dkim::SigningProfile>(dkim::DefaultProfile()), response);
    return Give(parts_.store.GetProfile(request->name()), response);
  });
}

AdminService::Reactor* AdminService::ListSigningProfiles(Context* context,
                                                         const admin::ListSigningProfilesRequest* request,
                                                         admin::ListSigningProfilesResponse* response) {
  return parts_.gate.Run(
      context, {"ListSigningProfiles", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
        auto profiles = parts_.store.ListProfiles();
        if (!profiles) return profiles.error();
        profiles->push_back(dkim::DefaultProfile());
        std::sort(profiles->begin(), profiles->end(), [](const auto& a, const auto& b) { return a.name < b.name; });
        for (const auto& profile : *profiles) *response->add_profiles() = ToApi(profile);
        return Ok();
      });
}

Status AdminService::UpdateProfile(const admin::SigningProfile& wanted, admin::SigningProfile* response) {
  const auto profile = FromApi(wanted);
  if (!profile) return profile.error();
  const auto present = parts_.store.GetProfile(profile->name);
  if (!present) return present.error();
  Status done = policy::CheckEtag(wanted.etag(), ToApi(*present).etag(), "the signing profile " + profile->name);
  if (done) done = CheckFitsItsDomains(*profile);
  if (done) done = parts_.store.UpdateProfile(*profile);
  if (done) done = parts_.publish();
  return done ? Give(parts_.store.GetProfile(profile->name), response) : done;
}

AdminService::Reactor* AdminService::UpdateSigningProfile(Context* context,
                                                          const admin::UpdateSigningProfileRequest* request,
                                                          admin::SigningProfile* response) {
  return parts_.gate.Run(context, {"UpdateSigningProfile", Role::kOperator}, *request,
                         [=, this](const Caller&) { return UpdateProfile(request->profile(), response); });
}

AdminService::Reactor* AdminService::GetDnsRecords(Context* context, const admin::GetDnsRecordsRequest* request,
                                                   admin::GetDnsRecordsResponse* response) {
  return parts_.gate.Run(context, {"GetDnsRecords", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    admin::Domain domain;
    const Status exists = ReadDomain(request->domain(), &domain);
    if (!exists) return exists;
    const auto view = parts_.rotator.View(domain.name());
    if (!view) return view.error();
    for (const store::KeyLife& life : view->life.keys) {
      if (life.key.state == snapshot::KeyState::kWithdrawn) continue;
      admin::DnsRecord& record = *response->add_records();
      record.set_name(life.published_name.empty() ? keys::PublishedName(life.key, view->policy) : life.published_name);
      record.set_type("TXT");
      record.set_value(life.key.state == snapshot::KeyState::kRevoked
                           ? dkim::RevokedKeyRecordValue(*life.key.public_key)
                           : dkim::KeyRecordValue(*life.key.public_key));
      record.set_zone_file_line(record.name() + ". " + std::to_string(view->policy.record_ttl.count()) + " IN TXT " +
                                dkim::ZoneFileTxt(record.value()));
      record.set_selector(life.key.selector);
      record.set_state(ToApi(life.key.state));
    }
    return Ok();
  });
}

AdminService::Reactor* AdminService::GetStatus(Context* context, const admin::GetStatusRequest* request,
                                               admin::GetStatusResponse* response) {
  return parts_.gate.Run(context, {"GetStatus", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    const auto view = parts_.snapshot.Get();
    response->set_version(parts_.version);
    response->set_box(parts_.box);
    response->mutable_start_time()->set_seconds(started_.time_since_epoch().count());
    for (const auto& facts : parts_.tokens.Facts()) *response->add_tokens() = ToApi(facts);
    const health::Report health = parts_.health.Current();
    *response->mutable_health() = health.readings();
    AddKeyReadings(parts_.presence.view(), *response);
    for (const auto& [identity, relay] : view->relays) *response->add_relays() = policy::ToApi(relay);
    std::sort(response->mutable_relays()->begin(), response->mutable_relays()->end(),
              [](const auto& a, const auto& b) { return a.name() < b.name(); });
    response->set_domain_count(static_cast<std::int64_t>(view->domains.size()));
    std::int64_t active = 0;
    for (const auto& [name, domain] : view->domains) active += static_cast<std::int64_t>(domain.active_keys.size());
    response->set_active_key_count(active);
    const pipeline::Counters counters = parts_.pipeline.counters();
    response->set_signed_message_count(counters.signed_messages);
    response->set_refused_message_count(counters.refused_messages);
    response->set_messages_in_flight(counters.in_flight);
    return Ok();
  });
}

}  // namespace hallmark::service
