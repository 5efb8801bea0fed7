#include "tools/dkimctl/sign_stream.h"

namespace hallmark::ctl {

using signing::v1::SignResponse;

SignStream::SignStream(const std::shared_ptr<grpc::Channel>& channel, std::string server,
                       std::chrono::milliseconds timeout)
    : server_(std::move(server)),
      timeout_(timeout),
      stub_(signing::v1::SigningService::NewStub(channel)),
      stream_(stub_->SignStream(&call_)) {
  reader_ = std::thread([this] { ReadAnswers(); });
}

SignStream::~SignStream() {
  {
    const std::lock_guard lock(write_mutex_);
    stream_->WritesDone();
  }
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, timeout_, [this] { return ended_.has_value(); })) call_.TryCancel();
  }
  reader_.join();
}

void SignStream::ReadAnswers() {
  signing::v1::SignStreamResponse answer;
  while (stream_->Read(&answer)) {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(answer.request_id());
    if (found == waiting_.end()) continue;  // its caller waits no longer
    if (answer.has_error()) {
      found->second = FromDetails(answer.error().code(), answer.error().message(), answer.error().SerializeAsString());
    } else {
      found->second = answer.response();
    }
    changed_.notify_all();
  }
  const grpc::Status status = stream_->Finish();
  const std::lock_guard lock(mutex_);
  ended_ = status.ok() ? Failure{ExitCode::kUnavailable, "signerd at " + server_ + " ended the stream early; try again"}
                       : FromStatus(status, server_);
  changed_.notify_all();
}

std::string SignStream::Register() {
  const std::lock_guard lock(mutex_);
  const std::string id = run_ + std::to_string(++next_);
  waiting_.emplace(id, std::nullopt);
  return id;
}

Answer<SignResponse> SignStream::Await(const std::string& id) {
  std::unique_lock lock(mutex_);
  Reply& reply = waiting_.at(id);
  changed_.wait_for(lock, timeout_, [&] { return reply.has_value() || ended_.has_value(); });
  Reply taken = std::move(reply);
  waiting_.erase(id);
  if (taken) return *std::move(taken);
  if (ended_) return *ended_;
  return FromStatus(grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, ""), server_);
}

Answer<SignResponse> SignStream::Sign(signing::v1::SignRequest request) {
  const std::string id = Register();
  request.mutable_options()->set_request_id(id);
  {
    const std::lock_guard lock(write_mutex_);
    // When this fails the stream has ended, which the reader reports.
    stream_->Write(request);
  }
  return Await(id);
}

}  // namespace hallmark::ctl
