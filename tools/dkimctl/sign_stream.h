#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "hallmark/signing/v1/signing.grpc.pb.h"
#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// One SignStream call that many threads share: each message waits for its own answer, whatever order they come in.
class SignStream {
 public:
  SignStream(const std::shared_ptr<grpc::Channel>& channel, std::string server, std::chrono::milliseconds timeout);
  // Ends the stream; no call of Sign may be under way.
  ~SignStream();
  SignStream(const SignStream&) = delete;
  SignStream& operator=(const SignStream&) = delete;

  // Sends the request under a request_id of its own, and waits for its answer: at most the time-out for each. A request
  // that signerd does not take in that time ends the stream. Any thread.
  Answer<signing::v1::SignResponse> Sign(signing::v1::SignRequest request);

 private:
  using Reply = std::optional<Answer<signing::v1::SignResponse>>;
  void ReadAnswers();
  void WatchWrites();
  void Write(const signing::v1::SignRequest& request);
  std::string Register();
  Answer<signing::v1::SignResponse> Await(const std::string& id);

  const std::string server_;
  const std::chrono::milliseconds timeout_;
  std::unique_ptr<signing::v1::SigningService::Stub> stub_;
  grpc::ClientContext call_;
  std::unique_ptr<grpc::ClientReaderWriter<signing::v1::SignRequest, signing::v1::SignStreamResponse>> stream_;
  std::mutex write_mutex_;  // one Write at a time
  std::mutex mutex_;        // guards what follows
  std::condition_variable changed_;
  std::map<std::string, Reply> waiting_;
  // Tells the ids of this run from those of others: one that is used again gets the answer that it had.
  const std::string run_ =
      "dkimctl-" + std::to_string(std::random_device()()) + std::to_string(std::random_device()()) + "-";
  std::uint64_t next_ = 0;
  std::optional<std::chrono::steady_clock::time_point> write_until_;  // when the Write under way must be done
  bool write_late_ = false;                                           // one was not
  std::optional<Failure> ended_;                                      // why the stream takes no more
  std::thread reader_, watcher_;
};

}  // namespace hallmark::ctl
