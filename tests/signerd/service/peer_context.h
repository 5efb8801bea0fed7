#pragma once

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <string>
#include <string_view>
#include <vector>

namespace hallmark::test {

// What gRPC tells of a caller that showed `pem`, and `sent` beside it. Its name never changes.
class PeerContext : public grpc::AuthContext {
 public:
  PeerContext(std::string_view pem, std::string_view sent, bool resumed = false)
      : pem_(pem), sent_(sent), resumed_(resumed) {}
  bool IsPeerAuthenticated() const override { return true; }
  std::vector<grpc::string_ref> GetPeerIdentity() const override { return {}; }
  std::string GetPeerIdentityPropertyName() const override { return ""; }
  std::vector<grpc::string_ref> FindPropertyValues(const std::string& name) const override {
    if (name == GRPC_X509_PEM_CERT_PROPERTY_NAME) return {{pem_.data(), pem_.size()}};
    if (name == GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME) return {{sent_.data(), sent_.size()}};
    if (name == GRPC_SSL_SESSION_REUSED_PROPERTY) return {resumed_ ? "true" : "false"};
    if (name == GRPC_PEER_DNS_PROPERTY_NAME) return {"Relay1.Example.COM"};
    return {};
  }
  grpc::AuthPropertyIterator begin() const override { return End(); }
  grpc::AuthPropertyIterator end() const override { return End(); }
  void AddProperty(const std::string&, const grpc::string_ref&) override {}
  bool SetPeerIdentityPropertyName(const std::string&) override { return false; }

 private:
  struct End : grpc::AuthPropertyIterator {};
  const std::string_view pem_, sent_;
  const bool resumed_;
};

}  // namespace hallmark::test
