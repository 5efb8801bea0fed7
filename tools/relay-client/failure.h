#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "tools/relay-client/relay_client.h"

namespace hallmark::relay {

// Whether a refusal may be that of one server alone, whose configuration, keys or token another one does not share:
// that one is worth asking. Any thread.
bool MayBeOneServers(const Failure& failure);

// What a relay makes of a call that ended with `status`, which is not OK. `server` is named where the server itself
// gave no reason. Any thread.
Failure ToFailure(const grpc::Status& status, const std::string& server);

}  // namespace hallmark::relay
