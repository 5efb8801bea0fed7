#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>

#include "firmware/runtime/result.h"
#include "signerd/service/errors.h"
#include "signerd/service/signing_service.h"

// What every way of signing shares.
namespace hallmark::service {

// Who calls, for what. Checks the options and the caller: kInvalidArgument, kCallerUnknown.
// kShuttingDown at the end.
Result<pipeline::Origin> AdmitCall(const SigningService::Parts& parts, const grpc::CallbackServerContext& context,
                                   const api::SignOptions& options);

// The call's own deadline, or 30 s from now where it has none or a later one.
tokens::Deadline DeadlineOf(const grpc::CallbackServerContext& context);

// kMessageTooLarge, with the way out.
Status CheckSize(std::size_t octets, std::size_t most);

// `clock_not_set`: t= and x= may be wrong, so the answer says so.
void FillResponse(const pipeline::SignedMessage& made, const std::string& request_id, bool clock_not_set,
                  api::SignResponse& response);

// A call with one answer. It owns itself from creation until gRPC says that it is done with it.
template <class Reactor>
class SigningCall : public Reactor {
 public:
  explicit SigningCall(api::SignResponse* response) : response_(response) {}

  void OnDone() override { const auto last = std::move(self_); }
  // gRPC 1.51 calls OnDone on a thread of its own unless it is told that all reactions are short; ours are. It is not
  // part of gRPC's stable API: if a later version drops it, the build says so and this line goes.
  bool InternalInlineable() override { return true; }
  void OnCancel() override { cancelled_->store(true); }

  // Hands the message to the pipeline; its answer ends the call. `parts` live longer.
  void Submit(const SigningService::Parts& parts, pipeline::Origin origin,
              std::variant<std::string_view, pipeline::HashedMessage> message, tokens::Deadline deadline,
              const std::string& request_id) {
    parts.pipeline.Submit({std::move(origin), std::move(message), deadline, cancelled_,
                           [call = self_, this, request_id, &parts](Result<pipeline::SignedMessage> result) {
                             End(result, request_id, parts.clock_not_set);
                           }});
  }
  void Refuse(const Error& error) { this->Finish(ToGrpcStatus(error, Audience::kRelay)); }

  template <class Call, class... Arguments>
  static Call* Make(Arguments&&... arguments) {
    auto call = std::make_shared<Call>(std::forward<Arguments>(arguments)...);
    call->self_ = call;
    return call.get();
  }

 protected:
  api::SignResponse* const response_;

 private:
  void End(const Result<pipeline::SignedMessage>& result, const std::string& request_id, bool clock_not_set) {
    if (result) {
      FillResponse(*result, request_id, clock_not_set, *response_);
      this->Finish(grpc::Status::OK);
    } else {
      Refuse(result.error());
    }
  }
  std::shared_ptr<SigningCall> self_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace hallmark::service
