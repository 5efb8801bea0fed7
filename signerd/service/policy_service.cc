#include "signerd/service/policy_service.h"

#include <algorithm>

#include "signerd/admission/admission.h"
#include "signerd/policy/etag.h"
#include "signerd/policy/policy_changes.h"
#include "signerd/policy/policy_convert.h"
#include "signerd/service/replay.h"

namespace hallmark::service {

namespace admin = hallmark::admin::v1;

namespace {

using snapshot::PartnerState;

constexpr char kQuotaRule[] = "quota";
constexpr char kHeaderRule[] = "header";

void AddStep(admin::ExplainDecisionResponse& response, std::string_view rule,
             admin::ExplainDecisionResponse::Outcome outcome, const std::string& message) {
  auto& step = *response.add_steps();
  step.set_rule(std::string(rule));
  step.set_outcome(outcome);
  step.set_message(message);
}

void Refuse(admin::ExplainDecisionResponse& response, const Error& error) {
  response.set_allowed(false);
  response.set_reason(std::string(ReasonName(error.reason)));
  response.set_message(error.message);
}

// The rules that were not asked, so that an explanation always has all of them.
void AddRest(admin::ExplainDecisionResponse& response) {
  std::vector<std::string_view> rules = {kHeaderRule};
  for (const std::string_view rule : admission::RuleNames()) rules.push_back(rule);
  rules.push_back(kQuotaRule);
  for (auto i = static_cast<std::size_t>(response.steps_size()); i < rules.size(); ++i) {
    AddStep(response, rules[i], admin::ExplainDecisionResponse::NOT_REACHED, "");
  }
}

}  // namespace

PolicyService::PolicyService(const Parts& parts) : parts_(parts) {
  SetReplayOf<admin::ApplyPolicyRequest, admin::ApplyPolicyResponse>(
      parts_.gate, "ApplyPolicy",
      [this](const Caller& caller, const auto& request, auto* response) { return Apply(caller, request, *response); });
  SetReplayOf<admin::SetPartnerStateRequest, admin::PartnerStatus>(
      parts_.gate, "SetPartnerState", [this](const Caller& caller, const auto& request, auto* response) {
        return SetState(caller, request, *response);
      });
}

Status PolicyService::SuspendPartner(const std::string& name) {
  const auto in_force = [&] {
    const auto view = parts_.reception.snapshot.Get();
    const snapshot::Partner* partner = view->FindPartner(name);
    return partner != nullptr && partner->state == PartnerState::kSuspended;
  };
  const bool before = in_force();
  const Status changed = parts_.store.ChangePartnerState(name, PartnerState::kActive, PartnerState::kSuspended);
  if (!changed && changed.error().reason != Reason::kStateConflict) return changed;
  // It may have been suspended before and that not be in force, where publishing failed then: it is done only now.
  const Status published = parts_.publish();
  if (!published) return published;
  return !before && in_force() ? Ok() : changed;
}

PolicyService::Reactor* PolicyService::GetPolicy(Context* context, const admin::GetPolicyRequest* request,
                                                 admin::GetPolicyResponse* response) {
  return parts_.gate.Run(context, {"GetPolicy", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    const auto policy = parts_.store.GetPolicy();
    if (!policy) return policy.error();
    auto etag = EtagOf(*policy);
    if (!etag) return etag.error();
    *response->mutable_policy() = policy::ToApi(*policy);
    response->set_etag(std::move(*etag));
    return Ok();
  });
}

PolicyService::Reactor* PolicyService::ApplyPolicy(Context* context, const admin::ApplyPolicyRequest* request,
                                                   admin::ApplyPolicyResponse* response) {
  const Role least = request->validate_only() ? Role::kAuditor : Role::kOperator;
  return parts_.gate.Run(context, {"ApplyPolicy", least}, *request,
                         [=, this](const Caller& caller) { return Apply(caller, *request, *response); });
}

Status PolicyService::Apply(const Caller& caller, const admin::ApplyPolicyRequest& request,
                            admin::ApplyPolicyResponse& response) {
  const auto present = parts_.store.GetPolicy();
  if (!present) return present.error();
  const auto etag = EtagOf(*present);
  if (!etag) return etag.error();
  const Status same = policy::CheckEtag(request.etag(), *etag, "the policy");
  if (!same) return same;
  const auto wanted = policy::FromApi(request.policy(), *present);
  if (!wanted) return wanted.error();
  const policy::Difference difference = policy::FindDifference(*present, *wanted);
  response.mutable_changes()->Assign(difference.changes.begin(), difference.changes.end());
  response.set_etag(*etag);
  if (request.validate_only()) return Ok();
  // The store has it so, and may not be in force, where publishing failed when it was changed. The same in SetState().
  if (difference.changes.empty()) return parts_.publish();

  const std::string widening = difference.Widening();
  if (!widening.empty()) {
    if (request.etag().empty()) {
      return MakeError(Reason::kInvalidArgument, "etag: required, since this widens rights: " + widening);
    }
    const Status may = parts_.gate.RequireApproval(caller, "widens rights: " + widening);
    if (!may) return may;
  }
  const Status announced = parts_.gate.Announce(caller, difference.Sentences());
  if (!announced) return announced;
  Status done = parts_.store.ChangePolicy(*present, difference.edit);
  if (done) done = parts_.publish();
  if (!done) return done;
  parts_.reception.quotas.Retain(*parts_.reception.snapshot.Get(), parts_.reception.clock.Precise());
  response.set_applied(true);
  const auto next = EtagOf(*wanted);
  response.set_etag(next ? *next : "");  // it is done; whoever needs it asks again
  return Ok();
}

Result<std::string> PolicyService::EtagOf(const snapshot::Policy& policy) {
  const auto change = parts_.store.GetPolicyChange("");
  if (!change) return change.error();
  return policy::Etag(policy) + '-' + std::to_string(*change);
}

PolicyService::Reactor* PolicyService::ListRelays(Context* context, const admin::ListRelaysRequest* request,
                                                  admin::ListRelaysResponse* response) {
  return parts_.gate.Run(context, {"ListRelays", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    const auto policy = parts_.store.GetPolicy();
    if (!policy) return policy.error();
    for (const auto& [name, relay] : policy->relays) *response->add_relays() = policy::ToApi(relay);
    return Ok();
  });
}

admin::PartnerStatus PolicyService::StatusOf(const snapshot::Partner& partner, const snapshot::Snapshot& view) const {
  admin::PartnerStatus status;
  *status.mutable_partner() = policy::ToApi(partner);
  const auto used = parts_.reception.quotas.Use(partner.name, parts_.reception.clock.Precise());
  status.set_messages_today(used.messages);
  status.set_recipients_today(used.recipients);
  for (const auto& [identity, relay] : view.relays) {
    if (relay.partners.contains(partner.name)) status.add_relays(relay.name);
  }
  std::sort(status.mutable_relays()->begin(), status.mutable_relays()->end());
  return status;
}

PolicyService::Reactor* PolicyService::ListPartners(Context* context, const admin::ListPartnersRequest* request,
                                                    admin::ListPartnersResponse* response) {
  return parts_.gate.Run(context, {"ListPartners", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    const auto view = parts_.reception.snapshot.Get();
    std::map<std::string, const snapshot::Partner*> in_order;
    for (const auto& [name, partner] : view->partners) in_order.emplace(name, &partner);
    for (const auto& [name, partner] : in_order) *response->add_partners() = StatusOf(*partner, *view);
    return Ok();
  });
}

PolicyService::Reactor* PolicyService::GetPartner(Context* context, const admin::GetPartnerRequest* request,
                                                  admin::PartnerStatus* response) {
  return parts_.gate.Run(context, {"GetPartner", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    const auto view = parts_.reception.snapshot.Get();
    const snapshot::Partner* partner = view->FindPartner(request->name());
    if (partner == nullptr) return MakeError(Reason::kNotFound, "the partner " + request->name() + " does not exist");
    *response = StatusOf(*partner, *view);
    return Ok();
  });
}

PolicyService::Reactor* PolicyService::SetPartnerState(Context* context, const admin::SetPartnerStateRequest* request,
                                                       admin::PartnerStatus* response) {
  return parts_.gate.Run(context, {"SetPartnerState", Role::kOperator}, *request,
                         [=, this](const Caller& caller) { return SetState(caller, *request, *response); });
}

Status PolicyService::SetState(const Caller& caller, const admin::SetPartnerStateRequest& request,
                               admin::PartnerStatus& response) {
  PartnerState wanted{};
  switch (request.state()) {
    case admin::PARTNER_STATE_ACTIVE: wanted = PartnerState::kActive; break;
    case admin::PARTNER_STATE_SUSPENDED: wanted = PartnerState::kSuspended; break;
    case admin::PARTNER_STATE_REVOKED: wanted = PartnerState::kRevoked; break;
    default: return MakeError(Reason::kInvalidArgument, "state: expected ACTIVE, SUSPENDED or REVOKED");
  }
  const auto policy = parts_.store.GetPolicy();
  if (!policy) return policy.error();
  const auto found = policy->partners.find(request.name());
  if (found == policy->partners.end()) {
    return MakeError(Reason::kNotFound, "the partner " + request.name() + " does not exist");
  }
  const PartnerState present = found->second.state;
  // It came back in another way meanwhile; what it is now, say suspended because of an alert, nobody agreed to undo.
  if (caller.approval != 0 && present != PartnerState::kRevoked) {
    return MakeError(Reason::kStateConflict, "things have changed since it was requested: partner " + request.name() +
                                                 " is not revoked any more");
  }
  if (request.name() == snapshot::kOwn && wanted == PartnerState::kRevoked) {
    return MakeError(Reason::kInvalidArgument, "partner own cannot be revoked: suspend it");
  }
  // Also to suspended: or two steps would do what one may not.
  if (present == PartnerState::kRevoked && wanted != present) {
    const auto change = parts_.store.GetPolicyChange(request.name());
    if (!change) return change.error();
    const Status may = parts_.gate.RequireApproval(
        caller, "widens rights: brings back partner " + request.name() + ", which was revoked" +
                    (*change == 0 ? "" : " in change " + std::to_string(*change) + " of the policy") +
                    (wanted == PartnerState::kSuspended ? ", as suspended" : ""));
    if (!may) return may;
  }
  Status done = wanted == present ? Ok() : parts_.store.ChangePartnerState(request.name(), present, wanted);
  if (done) done = parts_.publish();
  if (!done) return done;
  const auto view = parts_.reception.snapshot.Get();
  const snapshot::Partner* partner = view->FindPartner(request.name());
  if (partner == nullptr) return MakeError(Reason::kInternal, "the partner is not in the snapshot");
  response = StatusOf(*partner, *view);
  return Ok();
}

PolicyService::Reactor* PolicyService::RevokeRelay(Context* context, const admin::RevokeRelayRequest* request,
                                                   admin::Relay* response) {
  return parts_.gate.Run(context, {"RevokeRelay", Role::kOperator}, *request, [=, this](const Caller&) -> Status {
    Status done = parts_.store.SetRelayState(request->name(), snapshot::RelayState::kRevoked);
    if (done) done = parts_.publish();
    if (!done) return done;
    const auto view = parts_.reception.snapshot.Get();
    const snapshot::Relay* relay = view->FindRelayByName(request->name());
    if (relay == nullptr) return MakeError(Reason::kInternal, "the relay is not in the snapshot");
    *response = policy::ToApi(*relay);
    return Ok();
  });
}

PolicyService::Reactor* PolicyService::ExplainDecision(Context* context, const admin::ExplainDecisionRequest* request,
                                                       admin::ExplainDecisionResponse* response) {
  return parts_.gate.Run(context, {"ExplainDecision", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    const Status explained = Explain(*request, *response);
    if (explained) AddRest(*response);
    return explained;
  });
}

Status PolicyService::Explain(const admin::ExplainDecisionRequest& request,
                              admin::ExplainDecisionResponse& response) const {
  const auto view = parts_.reception.snapshot.Get();
  const snapshot::Relay* relay = view->FindRelayByName(request.relay());
  if (relay == nullptr) return MakeError(Reason::kNotFound, "the relay " + request.relay() + " does not exist");

  const auto header = dkim::Header::Parse(request.header(), parts_.reception.limits);
  if (!header) {
    AddStep(response, kHeaderRule, admin::ExplainDecisionResponse::REFUSED, header.error().message);
    Refuse(response, header.error());
    return Ok();
  }
  AddStep(response, kHeaderRule, admin::ExplainDecisionResponse::PASSED,
          std::to_string(header->fields().size()) + " fields");
  admission::Trace trace;
  const auto octets = request.octets() == 0 ? std::nullopt : std::optional<std::uint64_t>(request.octets());
  const auto decision = admission::Decide({*view, *relay, request.partner(), request.signing_domain(), *header, octets,
                                           request.recipients(), parts_.reception.clock.Now()},
                                          &trace);
  for (const admission::Step& step : trace) {
    AddStep(response, step.rule,
            step.passed ? admin::ExplainDecisionResponse::PASSED : admin::ExplainDecisionResponse::REFUSED,
            step.sentence);
  }
  if (!decision) {
    Refuse(response, decision.error());
    return Ok();
  }
  response.set_partner(decision->partner->name);
  response.set_signing_domain(decision->domain->name);
  for (const auto& key : decision->domain->active_keys) response.add_selectors(key->selector);
  const Status quota =
      parts_.reception.quotas.Look(*decision->partner, request.recipients(), parts_.reception.clock.Precise());
  AddStep(response, kQuotaRule,
          quota ? admin::ExplainDecisionResponse::PASSED : admin::ExplainDecisionResponse::REFUSED,
          quota ? "within its rate and the day's volume" : quota.error().message);
  response.set_allowed(quota.has_value());
  if (!quota) Refuse(response, quota.error());
  return Ok();
}

}  // namespace hallmark::service
