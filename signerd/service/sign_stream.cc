#include <deque>
#include <mutex>
#include <set>

#include "signerd/service/signing_call.h"

namespace hallmark::service {
namespace {

using StreamReactor = grpc::ServerBidiReactor<api::SignRequest, api::SignStreamResponse>;

// Messages taken from one stream whose answers the relay has not taken yet; more are read when it has. The answers that
// wait to be written count too: a relay that reads none would fill the memory with them.
constexpr std::size_t kMostUnanswered = 256;

// Many messages on one stream. Reading, answering and writing happen on different threads: what to do next is decided
// under the mutex and done after it is released, since gRPC may call back from within.
class StreamCall final : public StreamReactor {
 public:
  StreamCall(const SigningService::Parts& parts, grpc::CallbackServerContext* context)
      : parts_(parts), context_(context) {}

  static StreamCall* Make(const SigningService::Parts& parts, grpc::CallbackServerContext* context) {
    auto call = std::make_shared<StreamCall>(parts, context);
    call->self_ = call;
    call->StartRead(&call->request_);
    return call.get();
  }

  void OnDone() override { const auto last = std::move(self_); }
  void OnCancel() override { cancelled_->store(true); }
  bool InternalInlineable() override { return true; }  // as in SigningCall

  void OnReadDone(bool ok) override {
    if (!ok) {
      Act([&] { reads_ended_ = true; });
      return;
    }
    auto request = std::make_shared<api::SignRequest>(std::move(request_));
    request_ = {};
    Status taken = Ok();
    {
      const std::lock_guard lock(mutex_);
      const std::string& id = request->options().request_id();
      if (id.empty())
        taken = MakeError(Reason::kInvalidArgument, "request_id: required on a stream, to tell the answers apart");
      if (taken && !ids_.insert(id).second) {
        taken = MakeError(Reason::kInvalidArgument, "request_id: " + id + " is in flight on this stream already");
      }
      ++in_flight_;
    }
    Submit(request, taken);
    Act([&] { reading_ = false; });
  }

  void OnWriteDone(bool ok) override {
    Act([&] {
      writing_ = false;
      if (!ok) broken_ = true;
    });
  }

 private:
  // `taken`: whether its request_id is its own.
  void Submit(const std::shared_ptr<api::SignRequest>& request, const Status& taken) {
    const std::string id = request->options().request_id();
    const Status fit = taken ? CheckSize(request->message().size(), parts_.message_octets) : taken;
    auto origin = AdmitCall(parts_, *context_, request->options());
    if (!origin || !fit) {
      parts_.pipeline.NoteRefusal(origin ? &*origin : nullptr, origin ? fit.error().reason : origin.error().reason);
      Answer(id, origin ? fit.error() : origin.error(), taken.has_value());
      return;
    }
    parts_.pipeline.Submit(
        {std::move(*origin), std::string_view(request->message()), DeadlineOf(*context_), cancelled_,
         [call = self_, this, request, id](Result<pipeline::SignedMessage> result) { Answer(id, result, true); }});
  }

  void Answer(const std::string& id, const Result<pipeline::SignedMessage>& result, bool holds_id) {
    api::SignStreamResponse response;
    response.set_request_id(id);
    if (result) {
      FillResponse(*result, id, parts_.clock_not_set, *response.mutable_response());
    } else {
      *response.mutable_error() = ToRpcStatus(result.error(), Audience::kRelay);
    }
    Act([&] {
      --in_flight_;
      if (holds_id) ids_.erase(id);
      answers_.push_back(std::move(response));
    });
  }

  // Changes the state, then does what the new state asks for.
  template <class Change>
  void Act(Change change) {
    bool read = false, write = false, finish = false;
    {
      const std::lock_guard lock(mutex_);
      change();
      if (broken_) answers_.clear();
      if (!reading_ && !reads_ended_ && in_flight_ + answers_.size() < kMostUnanswered) read = reading_ = true;
      if (!writing_ && !answers_.empty()) {
        write = writing_ = true;
        current_ = std::move(answers_.front());
        answers_.pop_front();
      }
      if (reads_ended_ && in_flight_ == 0 && !writing_ && !finished_) finish = finished_ = true;
    }
    if (read) StartRead(&request_);
    if (write) StartWrite(&current_);
    if (finish) Finish(context_->IsCancelled() ? grpc::Status::CANCELLED : grpc::Status::OK);
  }

  const SigningService::Parts& parts_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<StreamCall> self_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  api::SignRequest request_;         // being read
  api::SignStreamResponse current_;  // being written
  std::mutex mutex_;                 // guards everything below
  std::deque<api::SignStreamResponse> answers_;
  std::set<std::string> ids_;  // in flight
  std::size_t in_flight_ = 0;
  bool reading_ = true, writing_ = false, reads_ended_ = false, broken_ = false, finished_ = false;
};

}  // namespace

StreamReactor* SigningService::SignStream(grpc::CallbackServerContext* context) {
  return StreamCall::Make(parts_, context);
}

}  // namespace hallmark::service
