#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/service/memory_guard.h"
#include "signerd/service/transport.h"

namespace hallmark::service {

// A gRPC server behind mutual TLS 1.3, with the standard health service and reflection. RequireTls13() must have been
// called.
class Listener {
 public:
  // `service_name`: the one that the health service speaks of. `message_octets`: the largest message that is taken.
  // `transport` lives longer. kConfigInvalid when the address cannot be used.
  static Result<std::unique_ptr<Listener>> Start(const Transport& transport,
                                                 const std::vector<grpc::Service*>& services,
                                                 const std::string& service_name, std::int64_t message_octets);

  // As bound: with the port that was chosen.
  const std::string& address() const { return address_; }
  // What the health service says of the whole server and of the service by its name.
  void SetServing(bool serving);
  // Takes no more calls and waits for those under way, until `deadline`; then cancels them.
  void Stop(std::chrono::system_clock::time_point deadline);

 private:
  Listener(std::shared_ptr<grpc::ServerCredentials> credentials, std::unique_ptr<grpc::Server> server,
           std::string address, std::string service_name, std::uint16_t port, std::size_t most_octets)
      : credentials_(std::move(credentials)),
        server_(std::move(server)),
        address_(std::move(address)),
        service_name_(std::move(service_name)),
        guard_(port, most_octets) {}
  // gRPC lets go of them with its builder, and asks their fetcher at each handshake.
  const std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<grpc::Server> server_;
  const std::string address_, service_name_;
  const MemoryGuard guard_;
};

}  // namespace hallmark::service
