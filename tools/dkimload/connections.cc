#include "tools/dkimload/connections.h"

#include <grpc/support/log.h>

#include <cstdlib>

#include "tools/dkimctl/credentials.h"

namespace hallmark::load {
namespace {

constexpr std::chrono::seconds kConnectTimeout(10);

std::shared_ptr<grpc::Channel> OpenConnection(const ctl::Endpoint& endpoint,
                                              const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(endpoint.server_name);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);             // each message is one call
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else channels to one server share a connection
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(endpoint.server, credentials, arguments);
}

// A call that any signerd answers. A handshake alone proves nothing: with TLS 1.3 the client is done before the server
// has looked at its certificate.
grpc::Status CheckHealth(Stub& stub) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kConnectTimeout);
  grpc::CompletionQueue queue;
  const grpc::Slice empty;
  const auto call =
      stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::ByteBuffer(&empty, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return status;
}

// Any answer of the server will do, a refusal too.
ctl::Answer<void> MustBeReached(const grpc::Status& status, const std::string& server) {
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) return ctl::FromStatus(status, server);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return ctl::Failure(ctl::ExitCode::kUnavailable, "signerd at " + server + " did not answer within 10 s");
  }
  return {};
}

}  // namespace

ctl::Answer<std::vector<std::unique_ptr<Stub>>> Connect(const ctl::Endpoint& endpoint, const Options& options) {
  // gRPC's own log would add lines of its own to standard error; what went wrong is in the status of the call.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  const auto credentials = ctl::Credentials(endpoint);
  std::vector<std::unique_ptr<Stub>> stubs;
  for (std::size_t i = 0; i < options.connections; ++i) {
    stubs.push_back(std::make_unique<Stub>(OpenConnection(endpoint, credentials)));
    const auto reached = MustBeReached(CheckHealth(*stubs.back()), endpoint.server);
    if (!reached) return reached.error();
  }
  return stubs;
}

}  // namespace hallmark::load
