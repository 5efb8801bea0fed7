#include "signerd/service/identity.h"

#include <grpc/grpc_security_constants.h>

#include <algorithm>

namespace hallmark::service {

std::vector<std::string> PeerIdentities(const grpc::AuthContext& peer) {
  std::vector<std::string> identities;
  for (const grpc::string_ref& name : peer.FindPropertyValues(GRPC_PEER_DNS_PROPERTY_NAME)) {
    std::string identity = "dns:" + std::string(name.data(), name.size());
    std::transform(identity.begin(), identity.end(), identity.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    identities.push_back(std::move(identity));
  }
  for (const grpc::string_ref& uri : peer.FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    identities.push_back("uri:" + std::string(uri.data(), uri.size()));
  }
  return identities;
}

}  // namespace hallmark::service
