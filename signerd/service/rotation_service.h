#pragma once

#include <grpcpp/grpcpp.h>

#include "firmware/runtime/clock.h"
#include "hallmark/admin/v1/rotation.grpc.pb.h"
#include "signerd/keys/rotator.h"
#include "signerd/service/admin_gate.h"

namespace hallmark::service {

// hallmark.admin.v1.RotationService. Calls come in by the AdminGate.
class RotationService final : public hallmark::admin::v1::RotationService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    store::Store& store;
    keys::Rotator& rotator;
    const keys::RecordPublisher& publisher;
    const keys::Signer& signer;
    const Clock& clock;
    std::function<void(const std::string& domain)> poke;   // have the domain looked at soon
    std::function<void(const std::string& domain)> queue;  // have it looked at in its turn: it is one of many
  };
  explicit RotationService(const Parts& parts);

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* GetRotationPolicy(Context*, const hallmark::admin::v1::GetRotationPolicyRequest*,
                             hallmark::admin::v1::RotationPolicy*) override;
  Reactor* SetRotationPolicy(Context*, const hallmark::admin::v1::SetRotationPolicyRequest*,
                             hallmark::admin::v1::RotationPolicy*) override;
  Reactor* RotateKeys(Context*, const hallmark::admin::v1::RotateKeysRequest*, hallmark::admin::v1::Rotation*) override;
  Reactor* RollBackKeys(Context*, const hallmark::admin::v1::RollBackKeysRequest*,
                        hallmark::admin::v1::Rotation*) override;
  Reactor* PauseRotation(Context*, const hallmark::admin::v1::PauseRotationRequest*,
                         hallmark::admin::v1::Rotation*) override;
  Reactor* ResumeRotation(Context*, const hallmark::admin::v1::ResumeRotationRequest*,
                          hallmark::admin::v1::Rotation*) override;
  Reactor* GetRotation(Context*, const hallmark::admin::v1::GetRotationRequest*,
                       hallmark::admin::v1::Rotation*) override;
  Reactor* ListRotations(Context*, const hallmark::admin::v1::ListRotationsRequest*,
                         hallmark::admin::v1::ListRotationsResponse*) override;
  Reactor* ListKeyEvents(Context*, const hallmark::admin::v1::ListKeyEventsRequest*,
                         hallmark::admin::v1::ListKeyEventsResponse*) override;

 private:
  Status Rotate(const Caller& caller, const hallmark::admin::v1::RotateKeysRequest& request,
                hallmark::admin::v1::Rotation* response);
  Status SetPolicy(const Caller& caller, const hallmark::admin::v1::SetRotationPolicyRequest& request,
                   hallmark::admin::v1::RotationPolicy* response);
  Status ReadPolicy(const std::string& domain, hallmark::admin::v1::RotationPolicy* response);
  // Runs `act` on the domain of the request, then answers with where it is.
  template <class Request, class Work>
  Reactor* RunAct(Context* context, const Act& act, const Request* request, hallmark::admin::v1::Rotation* response,
                  Work work);
  Status GiveView(const std::string& domain, hallmark::admin::v1::Rotation* response);
  void QueueAll();

  const Parts parts_;
};

}  // namespace hallmark::service
