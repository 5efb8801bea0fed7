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
  watcher_ = std::thread([this] { WatchWrites(); });
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
  watcher_.join();
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
  grpc::Status status = stream_->Finish();
  const std::lock_guard lock(mutex_);
  if (write_late_) status = grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "");
  ended_ = status.ok() ? Failure{ExitCode::kUnavailable, "signerd at " + server_ + " ended the stream early; try again"}
                       : FromStatus(status, server_);
  changed_.notify_all();
}

// A Write waits for as long as signerd takes nothing, and has no time-out of its own.
void SignStream::WatchWrites() {
  std::unique_lock lock(mutex_);
  while (!ended_) {
    if (!write_until_) {
      changed_.wait(lock);
    } else if (const auto until = *write_until_; std::chrono::steady_clock::now() < until) {
      changed_.wait_until(lock, until);
    } else {
      write_late_ = true;
      call_.TryCancel();
      return;
    }
  }
}

void SignStream::Write(const signing::v1::SignRequest& request) {
  const std::lock_guard one_at_a_time(write_mutex_);
  const auto set_until = [this](std::optional<std::chrono::steady_clock::time_point> until) {
    const std::lock_guard lock(mutex_);
    write_until_ = until;
    changed_.notify_all();
  };
  set_until(std::chrono::steady_clock::now() + timeout_ + std::chrono::seconds(request.message().size() >> 20));
  // When this fails the stream has ended, which the reader reports.
  stream_->Write(request);
  set_until(std::nullopt);
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
  Write(request);
  return Await(id);
}

}  // namespace hallmark::ctl
