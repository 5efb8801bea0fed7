#include "signerd/service/admin_gate.h"

#include <boost/asio/post.hpp>

#include <algorithm>

#include "firmware/runtime/log.h"
#include "signerd/service/errors.h"
#include "signerd/service/identity.h"

namespace hallmark::service {

AdminGate::Reactor* AdminGate::Run(Context* context, const Act& act, const google::protobuf::Message& request,
                                   Work work) {
  Reactor* reactor = context->DefaultReactor();
  const std::vector<std::string> identities = PeerIdentities(*context->auth_context());
  const auto identity = std::find_if(identities.begin(), identities.end(),
                                     [&](const std::string& name) { return parts_.operators.contains(name); });
  if (identity == identities.end()) {
    reactor->Finish(ToGrpcStatus(MakeError(Reason::kCallerUnknown, "the client certificate is not that of an operator"),
                                 Audience::kOperator));
    return reactor;
  }
  Caller caller{*identity, Role::kOfficer, act, request.SerializeAsString(), 0};
  boost::asio::post(thread_, [reactor, caller = std::move(caller), work = std::move(work)] {
    const Status done = work(caller);
    if (done) {
      log::info("admin: {} by {}", caller.act.method, caller.name);
      reactor->Finish(grpc::Status::OK);
    } else {
      log::warn("admin: {} by {} failed: {}: {}", caller.act.method, caller.name, ReasonName(done.error().reason),
                done.error().message);
      reactor->Finish(ToGrpcStatus(done.error(), Audience::kOperator));
    }
  });
  return reactor;
}

Status AdminGate::RequireApproval(const Caller&, const std::string&) { return Ok(); }

}  // namespace hallmark::service
