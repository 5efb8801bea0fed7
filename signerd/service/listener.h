#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::service {

// One [signing] or [admin] table.
struct ListenerConfig {
  std::string listen;  // "ADDRESS:PORT", "[ADDRESS]:PORT"; port 0 takes a free one
  std::filesystem::path certificate, private_key, client_ca;  // PEM
};

// A gRPC server behind mutual TLS 1.3, with the standard health service and reflection. Certificates are read again
// when their files change. RequireTls13() must have been called.
class Listener {
 public:
  // `service_name`: the one that the health service speaks of. `message_octets`: the largest message that is taken.
  // kConfigInvalid when the address or a certificate cannot be used.
  static Result<std::unique_ptr<Listener>> Start(const ListenerConfig& config,
                                                 const std::vector<grpc::Service*>& services,
                                                 const std::string& service_name, std::int64_t message_octets);

  // As bound: with the port that was chosen.
  const std::string& address() const { return address_; }
  // What the health service says of the whole server and of the service by its name.
  void SetServing(bool serving);
  // Takes no more calls and waits for those under way, until `deadline`; then cancels them.
  void Stop(std::chrono::system_clock::time_point deadline);

 private:
  Listener(std::unique_ptr<grpc::Server> server, std::string address, std::string service_name)
      : server_(std::move(server)), address_(std::move(address)), service_name_(std::move(service_name)) {}
  std::unique_ptr<grpc::Server> server_;
  const std::string address_, service_name_;
};

}  // namespace hallmark::service
