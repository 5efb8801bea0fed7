#include "signerd/service/rotation_service.h"

#include <charconv>

#include "signerd/dkim/author.h"
#include "signerd/keys/rotation_policy.h"
#include "signerd/policy/etag.h"
#include "signerd/service/admin_convert.h"
#include "signerd/service/free_text.h"
#include "signerd/service/replay.h"
#include "signerd/service/rotation_convert.h"

namespace hallmark::service {

namespace admin = hallmark::admin::v1;

namespace {

constexpr std::int64_t kAll = -1;  // SQLite: no limit

Result<std::string> DomainFrom(const std::string& name) {
  const auto domain = dkim::NormalizeDomain(name);
  if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
  return *domain;
}

Result<std::int64_t> BeforeFrom(const std::string& page_token) {
  std::int64_t before = 0;
  const auto [end, failed] = std::from_chars(page_token.data(), page_token.data() + page_token.size(), before);
  if (page_token.empty() || (failed == std::errc() && end == page_token.data() + page_token.size() && before > 0)) {
    return before;
  }
  return MakeError(Reason::kInvalidArgument, "page_token: not one that was given");
}

}  // namespace

RotationService::RotationService(const Parts& parts) : parts_(parts) {
  SetReplayOf<admin::RotateKeysRequest, admin::Rotation>(
      parts_.gate, "RotateKeys",
      [this](const Caller& caller, const auto& request, auto* response) { return Rotate(caller, request, response); },
      Lane::kRotation);
}

Status RotationService::GiveView(const std::string& domain, admin::Rotation* response) {
  const auto view = parts_.rotator.View(domain);
  if (!view) return view.error();
  *response = ToApi(*view);
  return Ok();
}

void RotationService::QueueAll() {
  const auto domains = parts_.store.ListDomains({"", kAll});
  if (!domains) return;  // each is looked at within the hour anyway
  for (const auto& domain : *domains) parts_.queue(domain.name);
}

Status RotationService::ReadPolicy(const std::string& domain, admin::RotationPolicy* response) {
  if (!domain.empty()) {
    const auto exists = parts_.store.GetDomain(domain);
    if (!exists) return exists.error();
  }
  const auto policy = keys::PolicyOf(parts_.store, domain);
  if (!policy) return policy.error();
  *response = ToApi(*policy);
  response->set_inherited(!domain.empty() && policy->domain.empty());
  return Ok();
}

RotationService::Reactor* RotationService::GetRotationPolicy(Context* context,
                                                             const admin::GetRotationPolicyRequest* request,
                                                             admin::RotationPolicy* response) {
  return parts_.gate.Run(context, {"GetRotationPolicy", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    if (request->domain().empty()) return ReadPolicy("", response);
    const auto domain = DomainFrom(request->domain());
    return domain ? ReadPolicy(*domain, response) : domain.error();
  });
}

Status RotationService::SetPolicy(const Caller& caller, const admin::SetRotationPolicyRequest& request,
                                  admin::RotationPolicy* response) {
  auto policy = FromApi(request.policy());
  if (!policy) return policy.error();
  if (!policy->domain.empty()) {
    const auto exists = parts_.store.GetDomain(policy->domain);
    if (!exists) return exists.error();
  }
  const auto before = keys::PolicyOf(parts_.store, policy->domain);
  if (!before) return before.error();
  const Status same = policy::CheckEtag(request.policy().etag(), ToApi(*before).etag(), "the rotation policy");
  if (!same) return same;
  if (request.inherit()) {
    const Status deleted = parts_.store.DeleteRotationPolicy(policy->domain);
    if (!deleted) return deleted;
  } else {
    if (policy->publisher != keys::kManual && !parts_.publisher.HasPublisher(policy->publisher)) {
      return MakeError(Reason::kNotFound, "publisher: " + policy->publisher + " is not in the configuration");
    }
    const Status usable = keys::CheckToken(parts_.signer, *policy);
    if (!usable) return usable;
    if (policy->backup_waiver == before->backup_waiver) {
      policy->backup_waived_by = before->backup_waived_by;
      policy->backup_waived = before->backup_waived;
    } else if (!policy->backup_waiver.empty()) {
      policy->backup_waived_by = caller.name;
      policy->backup_waived = parts_.clock.Now();
    }
    const Status put = parts_.store.PutRotationPolicy(*policy);
    if (!put) return put;
  }
  if (policy->domain.empty()) {
    QueueAll();
  } else {
    parts_.poke(policy->domain);
  }
  return ReadPolicy(policy->domain, response);
}

RotationService::Reactor* RotationService::SetRotationPolicy(Context* context,
                                                             const admin::SetRotationPolicyRequest* request,
                                                             admin::RotationPolicy* response) {
  return parts_.gate.Run(context, {"SetRotationPolicy", Role::kOperator}, *request,
                         [=, this](const Caller& caller) { return SetPolicy(caller, *request, response); });
}

Status RotationService::Rotate(const Caller& caller, const admin::RotateKeysRequest& request,
                               admin::Rotation* response) {
  const auto domain = DomainFrom(request.domain());
  if (!domain) return domain.error();
  // The first call begins the rotation; carrying out the approved request revokes.
  if (caller.approval == 0) {
    const Status begun = parts_.rotator.Request(*domain, request.compromised(), caller.name);
    if (!begun) return begun;
    parts_.poke(*domain);
  }
  if (!request.compromised()) return GiveView(*domain, response);
  const auto suspected = parts_.rotator.Suspected(*domain);
  if (!suspected) return suspected.error();
  if (suspected->empty()) return GiveView(*domain, response);
  std::string names;
  for (const std::string& selector : *suspected) names += (names.empty() ? "" : ", ") + selector;
  Status done = parts_.gate.RequireApproval(caller, "revokes the keys " + names + " of " + *domain +
                                                        " as soon as their successors sign, after which nothing that "
                                                        "they signed verifies; the rotation has begun");
  if (done) done = parts_.rotator.Condemn(*domain, caller.name);
  if (!done) return done;
  parts_.poke(*domain);
  return GiveView(*domain, response);
}

RotationService::Reactor* RotationService::RotateKeys(Context* context, const admin::RotateKeysRequest* request,
                                                      admin::Rotation* response) {
  return parts_.gate.Run(context, {"RotateKeys", Role::kOperator, Lane::kRotation}, *request,
                         [=, this](const Caller& caller) { return Rotate(caller, *request, response); });
}

template <class Request, class Work>
RotationService::Reactor* RotationService::RunAct(Context* context, const Act& act, const Request* request,
                                                  admin::Rotation* response, Work work) {
  return parts_.gate.Run(context, act, *request, [=, this](const Caller& caller) -> Status {
    const auto domain = DomainFrom(request->domain());
    if (!domain) return domain.error();
    const Status done = work(*domain, caller.name);
    // Also what was kept, and could not be published.
    if (done || done.error().reason != Reason::kNotFound) parts_.poke(*domain);
    return done ? GiveView(*domain, response) : done;
  });
}

RotationService::Reactor* RotationService::RollBackKeys(Context* context, const admin::RollBackKeysRequest* request,
                                                        admin::Rotation* response) {
  return RunAct(
      context, {"RollBackKeys", Role::kOperator, Lane::kToken}, request, response,
      [this](const std::string& domain, const std::string& by) { return parts_.rotator.RollBack(domain, by); });
}

RotationService::Reactor* RotationService::PauseRotation(Context* context, const admin::PauseRotationRequest* request,
                                                         admin::Rotation* response) {
  return RunAct(context, {"PauseRotation", Role::kOperator, Lane::kRotation}, request, response,
                [=, this](const std::string& domain, const std::string& by) {
                  const Status is_text = CheckReasonText(request->reason());
                  return is_text ? parts_.rotator.Pause(domain, request->reason(), by) : is_text;
                });
}

RotationService::Reactor* RotationService::ResumeRotation(Context* context, const admin::ResumeRotationRequest* request,
                                                          admin::Rotation* response) {
  return RunAct(context, {"ResumeRotation", Role::kOperator, Lane::kRotation}, request, response,
                [this](const std::string& domain, const std::string& by) { return parts_.rotator.Resume(domain, by); });
}

RotationService::Reactor* RotationService::GetRotation(Context* context, const admin::GetRotationRequest* request,
                                                       admin::Rotation* response) {
  return parts_.gate.Run(context, {"GetRotation", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    const auto domain = DomainFrom(request->domain());
    return domain ? GiveView(*domain, response) : domain.error();
  });
}

RotationService::Reactor* RotationService::ListRotations(Context* context, const admin::ListRotationsRequest* request,
                                                         admin::ListRotationsResponse* response) {
  return parts_.gate.Run(context, {"ListRotations", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    const auto page = PageFrom(request->page_size(), request->page_token());
    if (!page) return page.error();
    const auto rows = parts_.store.ListDomains({page->after, page->most + 1});
    if (!rows) return rows.error();
    for (const auto& row : *rows) {
      if (response->rotations_size() == page->most) {
        response->set_next_page_token(response->rotations(response->rotations_size() - 1).domain());
        break;
      }
      const Status done = GiveView(row.name, response->add_rotations());
      if (!done) return done;
    }
    return Ok();
  });
}

RotationService::Reactor* RotationService::ListKeyEvents(Context* context, const admin::ListKeyEventsRequest* request,
                                                         admin::ListKeyEventsResponse* response) {
  return parts_.gate.Run(context, {"ListKeyEvents", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    std::string domain;
    if (!request->domain().empty()) {
      const auto named = DomainFrom(request->domain());
      if (!named) return named.error();
      domain = *named;
    }
    const auto page = PageFrom(request->page_size(), "");
    if (!page) return page.error();
    const auto before = BeforeFrom(request->page_token());
    if (!before) return before.error();
    const auto events = parts_.store.ListKeyEvents(domain, request->selector(), *before, page->most + 1);
    if (!events) return events.error();
    for (const auto& event : *events) {
      if (response->events_size() == page->most) {
        response->set_next_page_token(std::to_string(response->events(response->events_size() - 1).id()));
        break;
      }
      *response->add_events() = ToApi(event);
    }
    return Ok();
  });
}

}  // namespace hallmark::service
