#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <vector>

#include "tools/dkimctl/client.h"
#include "tools/dkimload/options.h"

namespace hallmark::load {

// Takes requests and answers as octets, so that neither is parsed or built again for each call.
using Stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>;

// As many connections to `endpoint` as the options say, each with a TCP connection of its own, all open and answering.
// kUnavailable when the server cannot be reached.
ctl::Answer<std::vector<std::unique_ptr<Stub>>> Connect(const ctl::Endpoint& endpoint, const Options& options);

}  // namespace hallmark::load
