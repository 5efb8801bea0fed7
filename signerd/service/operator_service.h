#pragma once

#include <grpcpp/grpcpp.h>

#include "firmware/runtime/clock.h"
#include "hallmark/admin/v1/operators.grpc.pb.h"
#include "signerd/operators/approvals.h"
#include "signerd/operators/operators.h"
#include "signerd/service/admin_gate.h"

namespace hallmark::service {

namespace admin = hallmark::admin::v1;

// hallmark.admin.v1.OperatorService: enrolment, login, operators, approvals.
class OperatorService final : public hallmark::admin::v1::OperatorService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    operators::Operators& operators;
    operators::Approvals& approvals;
  };
  // Says to the gate how approved requests are carried out.
  explicit OperatorService(const Parts& parts);

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* BeginEnrollment(Context*, const admin::BeginEnrollmentRequest*, admin::BeginEnrollmentResponse*) override;
  Reactor* FinishEnrollment(Context*, const admin::FinishEnrollmentRequest*, admin::Session*) override;
  Reactor* Login(Context*, const admin::LoginRequest*, admin::Session*) override;
  Reactor* Logout(Context*, const admin::LogoutRequest*, admin::LogoutResponse*) override;
  Reactor* WhoAmI(Context*, const admin::WhoAmIRequest*, admin::WhoAmIResponse*) override;
  Reactor* ListOperators(Context*, const admin::ListOperatorsRequest*, admin::ListOperatorsResponse*) override;
  Reactor* CreateOperator(Context*, const admin::CreateOperatorRequest*, admin::Operator*) override;
  Reactor* RemoveOperator(Context*, const admin::RemoveOperatorRequest*, admin::Operator*) override;
  Reactor* ResetOperator(Context*, const admin::ResetOperatorRequest*, admin::Operator*) override;
  Reactor* ListApprovals(Context*, const admin::ListApprovalsRequest*, admin::ListApprovalsResponse*) override;
  Reactor* Approve(Context*, const admin::ApproveRequest*, admin::Approval*) override;
  Reactor* Reject(Context*, const admin::RejectRequest*, admin::Approval*) override;

 private:
  Status DoCreate(const Caller& caller, const admin::CreateOperatorRequest& request, admin::Operator* response);
  Status DoRemove(const Caller& caller, const admin::RemoveOperatorRequest& request, admin::Operator* response);
  Status DoReset(const Caller& caller, const admin::ResetOperatorRequest& request, admin::Operator* response);
  const Parts parts_;
};

}  // namespace hallmark::service
