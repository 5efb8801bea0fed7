#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "hallmark/admin/v1/admin.grpc.pb.h"
#include "tools/dkimctl/command.h"

namespace hallmark::ctl {

// One listener of signerd, and how to come in.
struct Endpoint {
  std::string server;                        // "127.0.0.1:8462"
  std::string server_name;                   // what the server's certificate must say
  std::string ca, certificate, private_key;  // PEM
};

// From DIR/dkimctl.toml, which is checked as a whole.
struct ClientConfig {
  Endpoint admin, signing;
};
Answer<ClientConfig> LoadClientConfig(const std::filesystem::path& directory);

// A channel with mutual TLS. Connects on its first call.
std::shared_ptr<grpc::Channel> OpenChannel(const Endpoint& endpoint);

// The Admin API, all its services. Not thread-safe.
class AdminClient {
 public:
  using Stub = admin::v1::AdminService::Stub;
  static Answer<AdminClient> Open(const Context& context);

  // Calls one method and waits for its answer, at most the time-out of the context.
  template <class AnyStub, class Request, class Response>
  Answer<Response> Call(grpc::Status (AnyStub::*method)(grpc::ClientContext*, const Request&, Response*),
                        const Request& request) {
    AnyStub stub(channel_);
    grpc::ClientContext call;
    call.set_deadline(std::chrono::system_clock::now() + timeout_);
    Response response;
    const grpc::Status status = (stub.*method)(&call, request, &response);
    if (!status.ok()) return FromStatus(status, server_);
    return response;
  }

  // Calls a method that streams its answer, for as long as that takes, and gives each message to `take`, whose failure
  // ends the call.
  template <class AnyStub, class Request, class Response>
  Answer<void> Stream(std::unique_ptr<grpc::ClientReader<Response>> (AnyStub::*method)(grpc::ClientContext*,
                                                                                       const Request&),
                      const Request& request, const std::function<Answer<void>(const Response&)>& take) {
    AnyStub stub(channel_);
    grpc::ClientContext call;
    const auto reader = (stub.*method)(&call, request);
    Response response;
    Answer<void> taken;
    while (taken && reader->Read(&response)) {
      taken = take(response);
      if (!taken) call.TryCancel();
    }
    const grpc::Status status = reader->Finish();
    if (!taken) return taken;
    if (!status.ok()) return FromStatus(status, server_);
    return {};
  }

  // Every page.
  Answer<admin::v1::ListDomainsResponse> ListDomains();
  // `domain` empty: of all domains.
  Answer<admin::v1::ListKeysResponse> ListKeys(const std::string& domain);

 private:
  AdminClient(const Endpoint& endpoint, std::chrono::milliseconds timeout);
  std::string server_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<grpc::Channel> channel_;
};

// From --timeout.
std::chrono::milliseconds Timeout(const Context& context);

}  // namespace hallmark::ctl
