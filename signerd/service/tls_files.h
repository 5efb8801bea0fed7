#pragma once

#include <grpcpp/security/server_credentials.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "firmware/runtime/result.h"

namespace hallmark::service {

// One [signing] or [admin] table.
struct ListenerConfig {
  std::string listen;  // "ADDRESS:PORT", "[ADDRESS]:PORT"; port 0 takes a free one
  std::filesystem::path certificate, private_key, client_ca;  // PEM
  std::filesystem::path client_crl;                           // PEM; empty: none
};

// The three PEM files of a listener, as they are in force. Files that do not belong together, or are only written in
// part, never replace those in force.
class TlsFiles {
 public:
  struct Content {
    std::string certificate, private_key, client_ca;
    Content() = default;
    Content(Content&&) = default;
    Content& operator=(Content&&) = default;
    ~Content();  // wipes the private key
    bool operator==(const Content&) const = default;
  };

  // kConfigInvalid, kNotFound or kIoFailed when they cannot be used.
  static Result<std::unique_ptr<TlsFiles>> Load(const ListenerConfig& config);

  // Reads them again. Ok when what is on disk is in force, changed or not; else why it is not. One thread.
  Status Refresh();
  // Any thread.
  std::shared_ptr<const Content> current() const { return current_.load(); }

  // Mutual TLS by what is in force at each handshake. For one server, which must end before this does.
  std::shared_ptr<grpc::ServerCredentials> Credentials() const;

 private:
  explicit TlsFiles(const ListenerConfig& config) : config_(config) {}
  Result<Content> Read() const;
  const ListenerConfig config_;
  std::atomic<std::shared_ptr<const Content>> current_;
};

}  // namespace hallmark::service
