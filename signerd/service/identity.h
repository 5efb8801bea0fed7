#pragma once

#include <grpcpp/security/auth_context.h>

#include <string>
#include <vector>

namespace hallmark::service {

// The DNS and URI subject alternative names of the peer's verified certificate, as "dns:NAME" (lower case) and
// "uri:URI". Empty when it has none.
std::vector<std::string> PeerIdentities(const grpc::AuthContext& peer);

}  // namespace hallmark::service
