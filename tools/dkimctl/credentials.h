#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "tools/dkimctl/client.h"

namespace hallmark::ctl {

// Mutual TLS as `endpoint` says. For a private key in a token this sets PKCS11_MODULE_PATH: before other threads.
std::shared_ptr<grpc::ChannelCredentials> Credentials(const Endpoint& endpoint);

}  // namespace hallmark::ctl
