#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dkimctl_run.h"
#include "firmware/runtime/issue_certificate.h"
#include "hallmark/signing/v1/signing.grpc.pb.h"
#include "tools/relay-client/relay_client.h"

// Certificates of servers and relays, under one CA, as files.
class RelayPki {
 public:
  RelayPki();
  // Replaces the relay's certificate and key by those of another name. One of them only where the other is false.
  void IssueRelay(const std::string& name, bool certificate = true, bool key = true);
  std::shared_ptr<grpc::ServerCredentials> server() const { return server_; }
  // For these servers; with a time limit that no test reaches.
  hallmark::relay::Settings settings(std::vector<std::string> servers) const;
  std::string path(const std::string& name) const { return folder_ / name; }

 private:
  TemporaryFolder folder_;
  hallmark::Identity authority_;
  std::shared_ptr<grpc::ServerCredentials> server_;
};

// A signerd that answers as the test wants, with a health service.
class RelayServer final : public hallmark::signing::v1::SigningService::Service {
 public:
  // Port 0: a free one.
  explicit RelayServer(const RelayPki& pki, int port = 0);
  ~RelayServer() override;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }
  void SetServing(bool serving);

  // What becomes of a call; thread-safe where the test makes it so. Null: it is signed.
  std::function<grpc::Status(grpc::ServerContext&)> answer;
  // What is changed in the answer to a call that is signed, as above.
  std::function<void(const hallmark::signing::v1::SignOptions&, hallmark::signing::v1::SignResponse&)> change;

  struct Seen {
    std::vector<hallmark::signing::v1::SignDigestRequest> digests;
    std::vector<std::string> messages;        // Sign
    std::vector<std::string> large_messages;  // SignLarge
    std::vector<std::string> request_ids;     // of all
    std::vector<std::string> callers;         // the DNS names in the relays' certificates
  };
  Seen seen();

 private:
  using Response = hallmark::signing::v1::SignResponse;
  grpc::Status SignDigest(grpc::ServerContext* context, const hallmark::signing::v1::SignDigestRequest* request,
                          Response* response) override;
  grpc::Status Sign(grpc::ServerContext* context, const hallmark::signing::v1::SignRequest* request,
                    Response* response) override;
  grpc::Status SignLarge(grpc::ServerContext* context, grpc::ServerReader<hallmark::signing::v1::MessageChunk>* reader,
                         Response* response) override;
  grpc::Status Answer(grpc::ServerContext& context, const hallmark::signing::v1::SignOptions& options,
                      Response& response);
  std::mutex mutex_;  // guards seen_
  Seen seen_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};
