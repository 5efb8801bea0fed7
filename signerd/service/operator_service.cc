#include "signerd/service/operator_service.h"

#include <cstdlib>

#include "firmware/runtime/identity.h"
#include "firmware/runtime/time_text.h"
#include "signerd/operators/totp.h"
#include "signerd/service/free_text.h"
#include "signerd/service/replay.h"

namespace hallmark::service {
namespace {

namespace admin = hallmark::admin::v1;
using operators::OperatorRow;
using store::ApprovalRow;
using store::ApprovalState;
using store::OperatorState;

void SetTime(google::protobuf::Timestamp* stamp, std::chrono::sys_seconds time) {
  stamp->set_seconds(time.time_since_epoch().count());
}

admin::Role ToApi(Role role) {
  switch (role) {
    case Role::kAuditor: return admin::ROLE_AUDITOR;
    case Role::kOperator: return admin::ROLE_OPERATOR;
    case Role::kOfficer: return admin::ROLE_OFFICER;
  }
  std::abort();  // Unreachable: roles come only from this program and its own database.
}

const char* NameOf(Role role) {
  switch (role) {
    case Role::kAuditor: return "auditor";
    case Role::kOperator: return "operator";
    case Role::kOfficer: return "security officer";
  }
  std::abort();  // Unreachable, as above.
}

Result<Role> FromApi(admin::Role role) {
  switch (role) {
    case admin::ROLE_AUDITOR: return Role::kAuditor;
    case admin::ROLE_OPERATOR: return Role::kOperator;
    case admin::ROLE_OFFICER: return Role::kOfficer;
    default: return MakeError(Reason::kInvalidArgument, "role: expected AUDITOR, OPERATOR or OFFICER");
  }
}

admin::OperatorState ToApi(OperatorState state) {
  switch (state) {
    case OperatorState::kInvited: return admin::OPERATOR_STATE_INVITED;
    case OperatorState::kEnrolled: return admin::OPERATOR_STATE_ENROLLED;
    case OperatorState::kRemoved: return admin::OPERATOR_STATE_REMOVED;
  }
  std::abort();  // Unreachable, as above.
}

admin::ApprovalState ToApi(ApprovalState state) {
  switch (state) {
    case ApprovalState::kWaiting: return admin::APPROVAL_STATE_WAITING;
    case ApprovalState::kApproved: return admin::APPROVAL_STATE_APPROVED;
    case ApprovalState::kDone: return admin::APPROVAL_STATE_DONE;
    case ApprovalState::kFailed: return admin::APPROVAL_STATE_FAILED;
    case ApprovalState::kRejected: return admin::APPROVAL_STATE_REJECTED;
    case ApprovalState::kExpired: return admin::APPROVAL_STATE_EXPIRED;
  }
  std::abort();  // Unreachable, as above.
}

admin::Operator ToApi(const OperatorRow& row) {
  admin::Operator out;
  out.set_name(row.name);
  out.set_identity(row.identity);
  out.set_role(ToApi(row.role));
  out.set_state(ToApi(row.state));
  SetTime(out.mutable_create_time(), row.created);
  out.set_refused_code_count(static_cast<std::int32_t>(row.failures));
  if (row.locked_until != std::chrono::sys_seconds()) SetTime(out.mutable_locked_until(), row.locked_until);
  return out;
}

admin::Approval ToApi(const ApprovalRow& row) {
  admin::Approval out;
  out.set_id(static_cast<std::uint64_t>(row.id));
  out.set_state(ToApi(row.state));
  out.set_requester(row.requester);
  out.set_decider(row.decider);
  out.set_method(row.method);
  out.set_request(row.shown);
  out.set_danger(row.danger);
  SetTime(out.mutable_create_time(), row.created);
  SetTime(out.mutable_expire_time(), row.expires);
  if (row.decided != std::chrono::sys_seconds()) SetTime(out.mutable_decide_time(), row.decided);
  out.set_outcome(row.outcome);
  return out;
}

// Which second factor a reset would do away with: one that the operator has got since then is not meant.
std::string FactorOf(const OperatorRow& row) {
  if (row.state != OperatorState::kEnrolled) return "; so far there is none";
  return "; the one so far is of " + TimeText(row.enrolled);
}

template <class T, class Message>
Status Give(const Result<T>& result, Message* message) {
  if (!result) return result.error();
  *message = ToApi(*result);
  return Ok();
}

Status GiveSession(const Result<operators::LoggedIn>& result, admin::Session* response) {
  if (!result) return result.error();
  response->set_token(result->session.token);
  SetTime(response->mutable_expire_time(), result->session.expires);
  *response->mutable_operator_() = ToApi(result->row);
  return Ok();
}

}  // namespace

OperatorService::OperatorService(const Parts& parts) : parts_(parts) {
  SetReplayOf<admin::CreateOperatorRequest, admin::Operator>(
      parts_.gate, "CreateOperator", [this](const Caller& caller, const auto& request, auto* response) {
        return DoCreate(caller, request, response);
      });
  SetReplayOf<admin::RemoveOperatorRequest, admin::Operator>(
      parts_.gate, "RemoveOperator", [this](const Caller& caller, const auto& request, auto* response) {
        return DoRemove(caller, request, response);
      });
  SetReplayOf<admin::ResetOperatorRequest, admin::Operator>(
      parts_.gate, "ResetOperator",
      [this](const Caller& caller, const auto& request, auto* response) { return DoReset(caller, request, response); });
}

OperatorService::Reactor* OperatorService::BeginEnrollment(Context* context,
                                                           const admin::BeginEnrollmentRequest* request,
                                                           admin::BeginEnrollmentResponse* response) {
  const auto check = [this](const operators::Peer& peer) { return parts_.operators.MayEnroll(peer); };
  return parts_.gate.RunWithoutSession(context, {"BeginEnrollment", Role::kAuditor}, *request, check,
                                       [=, this](const operators::Peer& peer) -> Status {
                                         const auto begun = parts_.operators.BeginEnrollment(peer, request->name());
                                         if (!begun) return begun.error();
                                         response->set_name(begun->name);
                                         response->set_role(ToApi(begun->role));
                                         response->set_otpauth_uri(totp::OtpauthUri(begun->name, begun->secret));
                                         return Ok();
                                       });
}

OperatorService::Reactor* OperatorService::FinishEnrollment(Context* context,
                                                            const admin::FinishEnrollmentRequest* request,
                                                            admin::Session* response) {
  const auto check = [this](const operators::Peer& peer) { return parts_.operators.MayEnroll(peer); };
  // It gives a right, so that it is not done without the ledger.
  return parts_.gate.RunWithoutSession(
      context, {"FinishEnrollment", Role::kOperator}, *request, check, [=, this](const operators::Peer& peer) {
        return GiveSession(parts_.operators.FinishEnrollment(peer, request->code()), response);
      });
}

OperatorService::Reactor* OperatorService::Login(Context* context, const admin::LoginRequest* request,
                                                 admin::Session* response) {
  const auto check = [=, this](const operators::Peer& peer) {
    return parts_.operators.MayLogin(peer, request->code());
  };
  return parts_.gate.RunWithoutSession(context, {"Login", Role::kAuditor}, *request, check,
                                       [=, this](const operators::Peer& peer) {
                                         return GiveSession(parts_.operators.Login(peer, request->code()), response);
                                       });
}

OperatorService::Reactor* OperatorService::Logout(Context* context, const admin::LogoutRequest* request,
                                                  admin::LogoutResponse*) {
  return parts_.gate.Run(context, {"Logout", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    parts_.operators.Logout(SessionToken(*context));
    return Ok();
  });
}

OperatorService::Reactor* OperatorService::WhoAmI(Context* context, const admin::WhoAmIRequest* request,
                                                  admin::WhoAmIResponse* response) {
  return parts_.gate.Run(context, {"WhoAmI", Role::kAuditor}, *request, [=, this](const Caller& caller) -> Status {
    const auto session = parts_.operators.FindSession(caller.certificate, SessionToken(*context));
    if (session) SetTime(response->mutable_session_expire_time(), session->expires);
    return Give(parts_.operators.Get(caller.name), response->mutable_operator_());
  });
}

OperatorService::Reactor* OperatorService::ListOperators(Context* context, const admin::ListOperatorsRequest* request,
                                                         admin::ListOperatorsResponse* response) {
  return parts_.gate.Run(context, {"ListOperators", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    for (const OperatorRow& row : parts_.operators.List()) {
      if (row.state != OperatorState::kRemoved || request->removed()) *response->add_operators() = ToApi(row);
    }
    return Ok();
  });
}

Status OperatorService::DoCreate(const Caller& caller, const admin::CreateOperatorRequest& request,
                                 admin::Operator* response) {
  const auto role = FromApi(request.role());
  if (!role) return role.error();
  OperatorRow row;
  row.name = request.name();
  row.identity = NormalIdentity(request.identity());
  Status may = parts_.operators.CanCreate(row);
  if (may) {
    may = parts_.gate.RequireApproval(caller,
                                      "adds " + row.name + " (" + row.identity + ") as " + std::string(NameOf(*role)));
  }
  return may ? Give(parts_.operators.Create(row.name, row.identity, *role), response) : may;
}

OperatorService::Reactor* OperatorService::CreateOperator(Context* context, const admin::CreateOperatorRequest* request,
                                                          admin::Operator* response) {
  return parts_.gate.Run(context, {"CreateOperator", Role::kOfficer}, *request,
                         [=, this](const Caller& caller) { return DoCreate(caller, *request, response); });
}

Status OperatorService::DoRemove(const Caller& caller, const admin::RemoveOperatorRequest& request,
                                 admin::Operator* response) {
  const auto row = parts_.operators.Get(request.name());
  if (!row) return row.error();
  Status may = Ok();
  if (row->role == Role::kOfficer || caller.approval != 0) {
    may = parts_.gate.RequireApproval(caller, "removes the " + std::string(NameOf(row->role)) + " " + row->name);
  }
  return may ? Give(parts_.operators.Remove(row->name), response) : may;
}

OperatorService::Reactor* OperatorService::RemoveOperator(Context* context, const admin::RemoveOperatorRequest* request,
                                                          admin::Operator* response) {
  return parts_.gate.Run(context, {"RemoveOperator", Role::kOfficer}, *request,
                         [=, this](const Caller& caller) { return DoRemove(caller, *request, response); });
}

Status OperatorService::DoReset(const Caller& caller, const admin::ResetOperatorRequest& request,
                                admin::Operator* response) {
  const auto row = parts_.operators.Get(request.name());
  if (!row) return row.error();
  const Status may = parts_.gate.RequireApproval(caller, "lets whoever holds the certificate of the " +
                                                             std::string(NameOf(row->role)) + " " + row->name +
                                                             " enrol with a new second factor" + FactorOf(*row));
  return may ? Give(parts_.operators.Reset(row->name), response) : may;
}

// An operator may ask for it too: of two officers, the one whose second factor is lost can neither ask nor approve.
OperatorService::Reactor* OperatorService::ResetOperator(Context* context, const admin::ResetOperatorRequest* request,
                                                         admin::Operator* response) {
  return parts_.gate.Run(context, {"ResetOperator", Role::kOperator}, *request,
                         [=, this](const Caller& caller) { return DoReset(caller, *request, response); });
}

OperatorService::Reactor* OperatorService::ListApprovals(Context* context, const admin::ListApprovalsRequest* request,
                                                         admin::ListApprovalsResponse* response) {
  return parts_.gate.Run(context, {"ListApprovals", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    if (request->id() != 0) {
      return Give(parts_.approvals.Get(static_cast<std::int64_t>(request->id())), response->add_approvals());
    }
    const auto rows = parts_.approvals.List(request->all());
    if (!rows) return rows.error();
    for (const ApprovalRow& row : *rows) *response->add_approvals() = ToApi(row);
    return Ok();
  });
}

OperatorService::Reactor* OperatorService::Approve(Context* context, const admin::ApproveRequest* request,
                                                   admin::Approval* response) {
  const auto id = static_cast<std::int64_t>(request->id());
  return parts_.gate.RunApproval(context, {"Approve", Role::kOfficer}, *request, id, [=, this](const Caller& caller) {
    return Give(parts_.gate.Approve(caller, id), response);
  });
}

OperatorService::Reactor* OperatorService::Reject(Context* context, const admin::RejectRequest* request,
                                                  admin::Approval* response) {
  return parts_.gate.Run(context, {"Reject", Role::kOperator}, *request, [=, this](const Caller& caller) -> Status {
    const Status is_text = CheckReasonText(request->reason());
    if (!is_text) return is_text;
    const auto id = static_cast<std::int64_t>(request->id());
    const auto row = parts_.approvals.Get(id);
    if (!row) return row.error();
    if (caller.role != Role::kOfficer && caller.name != row->requester) {
      return MakeError(Reason::kRoleNotAllowed, "only an officer, or who asked for it, may reject a request");
    }
    return Give(parts_.approvals.Reject(id, {caller.name, caller.certificate}, request->reason()), response);
  });
}

}  // namespace hallmark::service
