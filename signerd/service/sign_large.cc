#include "signerd/pipeline/message_hasher.h"
#include "signerd/service/signing_call.h"

namespace hallmark::service {
namespace {

using LargeReactor = grpc::ServerReadReactor<api::MessageChunk>;

// One message in chunks. The next chunk is asked for when the last is hashed, so that a fast sender waits and memory
// holds one chunk. gRPC calls these methods one at a time.
class LargeCall final : public SigningCall<LargeReactor> {
 public:
  LargeCall(const SigningService::Parts& parts, grpc::CallbackServerContext* context, api::SignResponse* response)
      : SigningCall(response), parts_(parts), drain_(parts.drain), context_(context) {
    ++drain_.uploads;
  }
  ~LargeCall() override { --drain_.uploads; }

  void Begin() { StartRead(&chunk_); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      EndMessage();
      return;
    }
    const Status taken = Take();
    if (!taken) {
      Fail(taken.error());
      return;
    }
    StartRead(&chunk_);
  }

 private:
  Status Take() {
    if (!hasher_) {
      auto origin = AdmitCall(parts_, *context_, chunk_.options());
      if (!origin) return origin.error();
      origin_ = std::move(*origin);
      request_id_ = chunk_.options().request_id();
      hasher_.emplace(origin_, parts_.pipeline.reception());
    } else if (chunk_.has_options()) {
      return MakeError(Reason::kInvalidArgument, "options: only the first chunk carries them");
    }
    return hasher_->Push(chunk_.data());
  }

  void EndMessage() {
    if (context_->IsCancelled()) {
      Fail(MakeError(Reason::kCancelled, "the relay cancelled the call"));
      return;
    }
    if (!hasher_) {
      Fail(MakeError(Reason::kInvalidArgument, "the stream ended before its first chunk"));
      return;
    }
    // The certificate may have been revoked, or have expired, since the first chunk. The rest is decided again too.
    const auto peer = parts_.transport.Admit(*context_->auth_context());
    if (!peer) {
      Fail(peer.error());
      return;
    }
    auto hashed = hasher_->Finish();
    if (!hashed) {
      Fail(hashed.error());
      return;
    }
    Submit(parts_, origin_, std::move(*hashed), DeadlineOf(*context_), request_id_);
  }

  // Refused before it came to the pipeline.
  void Fail(const Error& error) {
    parts_.pipeline.NoteRefusal(origin_.relay == nullptr ? nullptr : &origin_, error.reason);
    Refuse(error);
  }

  const SigningService::Parts& parts_;
  Drain& drain_;  // lives longer than the service
  grpc::CallbackServerContext* const context_;
  api::MessageChunk chunk_;
  pipeline::Origin origin_;
  std::string request_id_;
  std::optional<pipeline::MessageHasher> hasher_;
};

}  // namespace

LargeReactor* SigningService::SignLarge(grpc::CallbackServerContext* context, api::SignResponse* response) {
  auto* call = LargeCall::Make<LargeCall>(parts_, context, response);
  call->Begin();
  return call;
}

}  // namespace hallmark::service
