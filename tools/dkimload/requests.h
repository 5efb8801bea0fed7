#pragma once

#include <grpcpp/support/slice.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tools/dkimctl/failure.h"
#include "tools/dkimload/options.h"

namespace hallmark::load {

// The messages of the run as requests that are ready to be sent, made once: a call then costs no copy and no
// serialization, only a reference.
struct Requests {
  std::string path;                  // the gRPC method
  std::vector<grpc::Slice> slices;   // one for each message, not empty
  std::uint64_t message_octets = 0;  // of all messages, as read from the files
};

// Reads the files, and for Method::kDigest hashes their bodies (relaxed).
ctl::Answer<Requests> PrepareRequests(const Options& options);

}  // namespace hallmark::load
