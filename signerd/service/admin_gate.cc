#include "signerd/service/admin_gate.h"

#include <google/protobuf/util/json_util.h>

#include <boost/asio/post.hpp>

#include <algorithm>

#include "firmware/runtime/log.h"
#include "signerd/service/errors.h"

namespace hallmark::service {
namespace {

constexpr std::size_t kMostRequest = 4096;

// What the ledger keeps of a request.
std::string JsonOf(const google::protobuf::Message& request) {
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(request, &json).ok()) return "";
  if (json.size() <= kMostRequest) return json;
  std::size_t end = kMostRequest - 3;
  while (end > 0 && (static_cast<unsigned char>(json[end]) & 0xc0) == 0x80) --end;  // not within a character
  return json.substr(0, end) + "...";
}

void Log(const Caller& caller, const Status& done) {
  if (done) {
    log::info("admin: {} by {}", caller.act.method, caller.name);
  } else {
    log::warn("admin: {} by {} failed: {}: {}", caller.act.method, caller.name, ReasonName(done.error().reason),
              done.error().message);
  }
}

}  // namespace

Result<Caller> AdminGate::Identify(const grpc::ServerContextBase& context, const Act& act,
                                   const google::protobuf::Message& request) const {
  const auto peer = parts_.transport.Admit(*context.auth_context());
  if (!peer) return peer.error();
  const std::vector<std::string>& identities = (*peer)->identities;
  const auto identity = std::find_if(identities.begin(), identities.end(),
                                     [&](const std::string& name) { return parts_.operators.contains(name); });
  if (identity == identities.end()) {
    return MakeError(Reason::kCallerUnknown, "the client certificate is not that of an operator");
  }
  return Caller{*identity, Role::kOfficer, act, JsonOf(request)};
}

AdminGate::Reactor* AdminGate::Run(Context* context, const Act& act, const google::protobuf::Message& request,
                                   Work work) {
  Reactor* reactor = context->DefaultReactor();
  auto caller = Identify(*context, act, request);
  if (!caller) {
    reactor->Finish(ToGrpcStatus(caller.error(), Audience::kOperator));
    return reactor;
  }
  boost::asio::post(thread_, [this, reactor, caller = std::move(*caller), work = std::move(work)] {
    const Status done = Carry(caller, work);
    Log(caller, done);
    reactor->Finish(done ? grpc::Status::OK : ToGrpcStatus(done.error(), Audience::kOperator));
  });
  return reactor;
}

Result<Caller> AdminGate::Admit(const grpc::ServerContextBase& context, const Act& act,
                                const google::protobuf::Message& request) {
  auto caller = Identify(context, act, request);
  if (!caller || act.least == Role::kAuditor) return caller;
  const Status begun = Journal(*caller, "BEGUN");
  if (!begun) return begun.error();
  return caller;
}

void AdminGate::Done(const Caller& caller, Status done) {
  boost::asio::post(thread_, [this, caller, done = std::move(done)] {
    const Status kept = Journal(caller, done ? "OK" : std::string(ReasonName(done.error().reason)));
    Log(caller, done ? kept : done);
  });
}

// Reading is recorded when it is done; what changes something is recorded as begun before it is carried out, so that
// nothing is changed that the ledger does not tell of.
Status AdminGate::Carry(const Caller& caller, const Work& work) {
  if (caller.act.least != Role::kAuditor) {
    const Status begun = Journal(caller, "BEGUN");
    if (!begun) return begun;
  }
  const Status done = work(caller);
  const Status kept = Journal(caller, done ? "OK" : std::string(ReasonName(done.error().reason)));
  return done ? kept : done;
}

Status AdminGate::Journal(const Caller& caller, const std::string& outcome) const {
  hallmark::ledger::v1::Record record;
  auto& act = *record.mutable_admin_act();
  act.set_operator_(caller.name);
  act.set_method(caller.act.method);
  act.set_request(caller.request_json);
  act.set_outcome(outcome);
  act.set_count(1);
  return parts_.journal(record);
}

Status AdminGate::RecordDanger(const Caller& caller, const std::string& danger) {
  Caller told = caller;
  told.request_json = danger;
  return Journal(told, "DANGER");
}

}  // namespace hallmark::service
