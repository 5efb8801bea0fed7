#include "signerd/service/identity.h"

#include <grpc/grpc_security_constants.h>

#include "firmware/runtime/identity.h"

namespace hallmark::service {

std::vector<std::string> PeerIdentities(const grpc::AuthContext& peer) {
  std::vector<std::string> identities;
  for (const grpc::string_ref& name : peer.FindPropertyValues(GRPC_PEER_DNS_PROPERTY_NAME)) {
    identities.push_back(NormalIdentity("dns:" + std::string(name.data(), name.size())));
  }
  for (const grpc::string_ref& uri : peer.FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    identities.push_back("uri:" + std::string(uri.data(), uri.size()));
  }
  return identities;
}

}  // namespace hallmark::service
