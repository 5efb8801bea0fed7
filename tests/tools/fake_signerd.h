#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dkimctl_run.h"
#include "hallmark/admin/v1/admin.grpc.pb.h"
#include "hallmark/signing/v1/signing.grpc.pb.h"

// A status as signerd gives it: with an ErrorInfo of this reason.
grpc::Status Refusal(grpc::StatusCode code, const std::string& reason, const std::string& message);

// What a test asks of the Signing API: answers every message with one header field, and keeps what came.
class FakeSigning final : public hallmark::signing::v1::SigningService::Service {
 public:
  using Request = hallmark::signing::v1::SignRequest;
  using Response = hallmark::signing::v1::SignResponse;
  using Digest = hallmark::signing::v1::SignDigestRequest;

  // What is put before every message.
  std::string field = "DKIM-Signature: v=1;\r\n b=AA==\r\n";
  // Answers in place of the above when it gives something else than OK.
  std::function<grpc::Status(const std::string& message)> refuse = [](const std::string&) { return grpc::Status::OK; };

  // A call of Sign is not answered before so many were under way at once; or before it is clear that they never are.
  std::atomic<int> together{0};
  // Reads nothing of a SignStream.
  std::atomic<bool> deaf{false};

  struct Seen {
    std::vector<std::string> messages;  // Sign and SignStream
    std::vector<hallmark::signing::v1::SignOptions> options;
    std::vector<std::size_t> chunks;  // sizes, SignLarge
    std::uint64_t large_octets = 0;
    std::vector<Digest> digests;
  };
  Seen seen();
  int most_at_once() const {
    const std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  using Chunk = hallmark::signing::v1::MessageChunk;
  using StreamResponse = hallmark::signing::v1::SignStreamResponse;
  grpc::Status Sign(grpc::ServerContext*, const Request* request, Response* response) override;
  grpc::Status SignStream(grpc::ServerContext*, grpc::ServerReaderWriter<StreamResponse, Request>* stream) override;
  grpc::Status SignLarge(grpc::ServerContext*, grpc::ServerReader<Chunk>* reader, Response* response) override;
  grpc::Status SignDigest(grpc::ServerContext*, const Digest* request, Response* response) override;
  grpc::Status Answer(const Request& request, Response* response);
  void Fill(Response* response) const;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  Seen seen_;
  int now_ = 0, most_ = 0;
  bool in_vain_ = false;  // it was waited for more calls once, and they did not come
};

// Serves an Admin and a Signing API on a loopback port with mutual TLS, and a set-up of dkimctl that knows it.
class FakeSignerd {
 public:
  // Either may be null; `more` are further services of the Admin API. All outlive this.
  FakeSignerd(hallmark::admin::v1::AdminService::Service* admin,
              hallmark::signing::v1::SigningService::Service* signing, const std::vector<grpc::Service*>& more = {});
  ~FakeSignerd();
  FakeSignerd(const FakeSignerd&) = delete;
  FakeSignerd& operator=(const FakeSignerd&) = delete;

  // The set-up, for --dir.
  std::string directory() const { return folder_.path().string(); }
  int port() const { return port_; }
  // The set-up then says that signerd is at `address`.
  void MoveTo(const std::string& address) const;

 private:
  TemporaryFolder folder_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};
