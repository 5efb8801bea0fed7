#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "hallmark/signing/v1/signing.grpc.pb.h"
#include "signerd/dkim/types.h"
#include "tools/dkimctl/failure.h"
#include "tools/dkimctl/message_source.h"

namespace hallmark::ctl {

// Reads the message once, in pieces of `piece` octets: the header block as it stands, and the hash of the canonical
// body. The options are the caller's.
Answer<signing::v1::SignDigestRequest> MakeDigest(const MessageSource& source, std::size_t piece,
                                                  dkim::Canonicalization body);

// The calls of the Signing API that carry one message each. Each blocks until the answer is there, at most the time-out
// and a second for each MiB of the message. Any thread.
class SignCalls {
 public:
  SignCalls(const std::shared_ptr<grpc::Channel>& channel, std::string server, std::chrono::milliseconds timeout);

  // Sign: the whole message in one request.
  Answer<signing::v1::SignResponse> Sign(const MessageSource& source, const signing::v1::SignOptions& options) const;
  // SignLarge: in chunks of `chunk` octets, never more than one in memory.
  Answer<signing::v1::SignResponse> SignLarge(const MessageSource& source, const signing::v1::SignOptions& options,
                                              std::size_t chunk) const;
  // SignDigest: hashes the body here, in pieces of `chunk` octets, and sends the header block and the hash only.
  Answer<signing::v1::SignResponse> SignDigest(const MessageSource& source, const signing::v1::SignOptions& options,
                                               std::size_t chunk, dkim::Canonicalization body) const;

 private:
  void SetDeadline(grpc::ClientContext& call, std::uint64_t octets) const;
  std::unique_ptr<signing::v1::SigningService::Stub> stub_;
  std::string server_;
  std::chrono::milliseconds timeout_;
};

}  // namespace hallmark::ctl
