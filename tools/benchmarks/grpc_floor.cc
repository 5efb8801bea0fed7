// The least that a signer behind gRPC 1.51 and mTLS can cost: signerd's own listener, certificates and message, with an
// answer of the same size given at once by a handler that does nothing. What it takes is gRPC, TLS and the kernel.
#include <cstdio>
#include <iostream>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/log.h"
#include "signerd/config.h"
#include "signerd/service/listener.h"
#include "signerd/service/signing_call.h"
#include "signerd/service/transport.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark {
namespace {

namespace api = service::api;

constexpr std::size_t kFieldOctets = 700;  // a DKIM-Signature field of RSA-2048, with its line end
constexpr std::size_t kConnections = 1000;

void Fill(const std::string& request_id, api::SignResponse& response) {
  response.set_request_id(request_id);
  response.set_signing_domain("example.com");
  api::Signature& signature = *response.add_signatures();
  signature.set_header_field(std::string(kFieldOctets, 'x'));
  signature.set_selector("bench");
  signature.set_algorithm(api::ALGORITHM_RSA_SHA256);
  signature.set_body_hash(std::string(32, 'x'));
}

class Floor final : public api::SigningService::CallbackService {
 public:
  grpc::ServerUnaryReactor* Sign(grpc::CallbackServerContext*, const api::SignRequest* request,
                                 api::SignResponse* response) override {
    auto* call = Call::Make<Call>(response);
    Fill(request->options().request_id(), *response);
    call->Finish(grpc::Status::OK);
    return call;
  }

 private:
  using Call = service::SigningCall<grpc::ServerUnaryReactor>;
};

int Main(const char* path) {
  log::Init("grpc_floor", "error");
  const auto config = LoadConfig(path, false);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().message.c_str());
    return 1;
  }
  const snapshot::Current current(std::make_shared<const snapshot::Snapshot>());
  const SystemClock clock;
  auto transport = service::Transport::Open("signing", config->signing, current, clock);
  if (!transport) {
    std::fprintf(stderr, "%s\n", transport.error().message.c_str());
    return 1;
  }
  Floor floor;
  const std::size_t most_octets = service::MostOctets(config->message_octets);
  auto listener = service::Listener::Start(**transport, {&floor}, "hallmark.signing.v1.SigningService",
                                           {config->message_octets, most_octets, kConnections});
  if (!listener) {
    std::fprintf(stderr, "%s\n", listener.error().message.c_str());
    return 1;
  }
  (*listener)->SetServing(true);
  std::printf("%s\n", (*listener)->address().c_str());
  std::fflush(stdout);
  std::cin.get();  // until whoever started it ends
  (*listener)->Stop(std::chrono::system_clock::now());
  return 0;
}

}  // namespace
}  // namespace hallmark

int main(int argc, char** argv) {
  if (argc == 2) return hallmark::Main(argv[1]);
  std::fprintf(stderr, "usage: grpc_floor CONFIG\n");
  return 2;
}
