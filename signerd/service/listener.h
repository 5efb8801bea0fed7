#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/service/acceptor.h"
#include "signerd/service/flood_guard.h"
#include "signerd/service/kept_out.h"
#include "signerd/service/memory_guard.h"
#include "signerd/service/transport.h"

namespace hallmark::service {

// What the connections of a listener may hold together, for its largest message; in octets.
std::size_t MostOctets(std::int64_t message_octets);

// What a listener takes at most.
struct ListenerLimits {
  std::int64_t message_octets;  // the largest message
  std::size_t hold_octets;  // no more connections while the process has allocated so much, beside what it began with
  std::size_t connections;  // at once, as ConnectionLimit shares them out
};

// A gRPC server behind mutual TLS 1.3, with the standard health service and reflection. RequireTls13() must have been
// called.
class Listener {
 public:
  // `service_name`: the one that the health service speaks of. `transport` lives longer. kConfigInvalid when the
  // address cannot be used.
  static Result<std::unique_ptr<Listener>> Start(const Transport& transport,
                                                 const std::vector<grpc::Service*>& services,
                                                 const std::string& service_name, const ListenerLimits& limits);

  // As bound: with the port that was chosen.
  const std::string& address() const { return address_; }
  // What the health service says of the whole server and of the service by its name.
  void SetServing(bool serving);
  // Takes no more connections, nor calls and waits for those under way, until `deadline`; then cancels them.
  void Stop(std::chrono::system_clock::time_point deadline);

 private:
  Listener(std::shared_ptr<grpc::ServerCredentials> credentials, std::unique_ptr<grpc::Server> server,
           std::unique_ptr<Acceptor> acceptor, std::string address, std::string service_name, std::size_t most_octets,
           std::size_t hold_octets, std::uint64_t most_calls)
      : credentials_(std::move(credentials)),
        server_(std::move(server)),
        acceptor_(std::move(acceptor)),
        address_(std::move(address)),
        service_name_(std::move(service_name)),
        memory_guard_(*acceptor_, most_octets, hold_octets),
        flood_guard_(acceptor_->port(), most_calls, kept_out_) {}
  // gRPC lets go of them with its builder, and asks their fetcher at each handshake.
  const std::shared_ptr<grpc::ServerCredentials> credentials_;
  const std::unique_ptr<grpc::Server> server_;
  KeptOut kept_out_;
  const std::unique_ptr<Acceptor> acceptor_;  // hands connections over to server_
  const std::string address_, service_name_;
  const MemoryGuard memory_guard_;
  const FloodGuard flood_guard_;
};

}  // namespace hallmark::service
