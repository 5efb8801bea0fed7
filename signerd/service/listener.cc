#include "signerd/service/listener.h"

#include <absl/synchronization/mutex.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>

#include "firmware/runtime/log.h"

namespace hallmark::service {
namespace {

constexpr std::int64_t kMessageOverhead = 1 << 20;  // envelope and options beside the message
constexpr int kStreamsPerConnection = 2048;
// What a connection has under way at most: a client may begin more calls before it has read how many it may.
constexpr std::uint64_t kMostCalls = std::uint64_t{2} * kStreamsPerConnection;
constexpr int kPingMs = 1000;         // more often is a nuisance
constexpr int kHandshakeMs = 20'000;  // from a connection's first octet to its first SETTINGS
// A peer that went without a word, or does not read what it is sent, is noticed after the sum of both.
constexpr int kKeepaliveMs = 60'000, kKeepaliveTimeoutMs = 20'000;
// What all connections of a listener may hold together, and how many of the largest messages have to fit into it. The
// guard ends the busiest connection at half of it: gRPC, when it comes to the whole, also sends those away that did
// nothing, and one peer on a fast link sends 100 MiB while the guard waits for a processor.
constexpr std::int64_t kMostOctets = 768 << 20, kMostLargest = 6;
constexpr int kStreamWindow = 256 << 10;  // octets of one stream that may be on their way

// gRPC's own log: a client that fails its handshake is no error of ours, and a storm of them must not fill a disk.
void LogForGrpc(gpr_log_func_args* entry) { log::debug("grpc: {}", entry->message); }

}  // namespace

std::size_t MostOctets(std::int64_t message_octets) {
  return static_cast<std::size_t>(std::max(kMostOctets, kMostLargest * message_octets));
}

Result<std::unique_ptr<Listener>> Listener::Start(const Transport& transport,
                                                  const std::vector<grpc::Service*>& services,
                                                  const std::string& service_name, const ListenerLimits& limits) {
  gpr_set_log_function(&LogForGrpc);
  // Debian builds Abseil with its search for deadlocks on, which costs gRPC some 3 % of a call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  const ListenerConfig& config = transport.config();
  auto acceptor = Acceptor::Bind(config.listen);
  if (!acceptor) return acceptor.error();
  grpc::ServerBuilder builder;
  const auto credentials = transport.Credentials();
  // gRPC's own listener has no way to keep somebody out.
  std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> taker =
      builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits.message_octets + kMessageOverhead));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
  // A fixed window: gRPC's own estimate of the path's bandwidth lets it hold tens of megabytes of a stream on a fast
  // link.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kStreamWindow);
  // Relays ask every few seconds whether the connection still stands.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingMs);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Over it gRPC ends streams of whoever is there: without it, relays that begin many large messages and end none would
  // have all of the machine's memory. MemoryGuard comes before it, and knows which relay.
  const std::size_t most_octets = MostOctets(limits.message_octets);
  grpc::ResourceQuota quota(service_name);
  quota.Resize(most_octets);
  builder.SetResourceQuota(quota);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return MakeError(Reason::kConfigInvalid, "gRPC cannot serve on " + config.listen);
  const std::string address =
      config.listen.substr(0, config.listen.rfind(':') + 1) + std::to_string((*acceptor)->port());
  std::unique_ptr<Listener> listener(new Listener(credentials, std::move(server), std::move(*acceptor), address,
                                                  service_name, most_octets / 2, limits.hold_octets, kMostCalls));
  listener->SetServing(false);
  listener->acceptor_->Start(
      [taker](FileDescriptor connection) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
        parameters.fd = connection.Release();
        taker->HandleNewConnection(&parameters);
      },
      listener->kept_out_, limits.connections);
  return listener;
}

void Listener::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(serving);
  server_->GetHealthCheckService()->SetServingStatus(service_name_, serving);
}

void Listener::Stop(std::chrono::system_clock::time_point deadline) {
  SetServing(false);
  acceptor_->Stop();
  server_->Shutdown(deadline);
  server_->Wait();
}

}  // namespace hallmark::service
