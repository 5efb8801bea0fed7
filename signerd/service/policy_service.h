#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>

#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/policy.grpc.pb.h"
#include "signerd/pipeline/message_hasher.h"
#include "signerd/service/admin_gate.h"
#include "signerd/store/store.h"

namespace hallmark::service {

// hallmark.admin.v1.PolicyService: relays, partners and what they may do. Calls come in by the AdminGate.
class PolicyService final : public hallmark::admin::v1::PolicyService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    store::Store& store;
    const pipeline::Reception& reception;
    std::function<Status()> publish;  // makes the store's state the current snapshot; any thread
  };
  // Says to the gate how approved requests are carried out.
  explicit PolicyService(const Parts& parts);

  // For the watcher: suspends an active partner from the next message on. Any thread. kStateConflict when it is not
  // active.
  Status SuspendPartner(const std::string& name);

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* GetPolicy(Context*, const hallmark::admin::v1::GetPolicyRequest*,
                     hallmark::admin::v1::GetPolicyResponse*) override;
  Reactor* ApplyPolicy(Context*, const hallmark::admin::v1::ApplyPolicyRequest*,
                       hallmark::admin::v1::ApplyPolicyResponse*) override;
  Reactor* ListRelays(Context*, const hallmark::admin::v1::ListRelaysRequest*,
                      hallmark::admin::v1::ListRelaysResponse*) override;
  Reactor* ListPartners(Context*, const hallmark::admin::v1::ListPartnersRequest*,
                        hallmark::admin::v1::ListPartnersResponse*) override;
  Reactor* GetPartner(Context*, const hallmark::admin::v1::GetPartnerRequest*,
                      hallmark::admin::v1::PartnerStatus*) override;
  Reactor* SetPartnerState(Context*, const hallmark::admin::v1::SetPartnerStateRequest*,
                           hallmark::admin::v1::PartnerStatus*) override;
  Reactor* RevokeRelay(Context*, const hallmark::admin::v1::RevokeRelayRequest*, hallmark::admin::v1::Relay*) override;
  Reactor* ExplainDecision(Context*, const hallmark::admin::v1::ExplainDecisionRequest*,
                           hallmark::admin::v1::ExplainDecisionResponse*) override;

 private:
  // On the admin thread.
  Status Apply(const Caller& caller, const hallmark::admin::v1::ApplyPolicyRequest& request,
               hallmark::admin::v1::ApplyPolicyResponse& response);
  // Of what the store has. Another one, too, where it has the same policy once more: what was asked for meanwhile is no
  // word for what was changed back since.
  Result<std::string> EtagOf(const snapshot::Policy& policy);
  Status SetState(const Caller& caller, const hallmark::admin::v1::SetPartnerStateRequest& request,
                  hallmark::admin::v1::PartnerStatus& response);
  Status Explain(const hallmark::admin::v1::ExplainDecisionRequest& request,
                 hallmark::admin::v1::ExplainDecisionResponse& response) const;
  hallmark::admin::v1::PartnerStatus StatusOf(const snapshot::Partner& partner, const snapshot::Snapshot& view) const;

  const Parts parts_;
};

}  // namespace hallmark::service
