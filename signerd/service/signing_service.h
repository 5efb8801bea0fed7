#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>

#include "firmware/runtime/result.h"
#include "hallmark/signing/v1/signing.grpc.pb.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/service/transport.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark::service {

namespace api = hallmark::signing::v1;

// How the service comes to its end. Any thread.
struct Drain {
  std::atomic<bool> closed{false};  // new messages are refused with kShuttingDown; those under way go on
  std::atomic<int> uploads{0};      // calls of SignLarge, whose messages are not in the pipeline until they are whole
};

// hallmark.signing.v1.SigningService. Handlers run on gRPC's threads and never wait: a message is handed to the
// pipeline, whose answer ends the call. Only SignLarge works on these threads, hashing each chunk as it comes.
class SigningService final : public api::SigningService::CallbackService {
 public:
  struct Parts {
    const snapshot::Current& snapshot;
    Transport& transport;
    pipeline::Pipeline& pipeline;
    const std::atomic<bool>& clock_not_set;  // answers warn while it is so
    Drain& drain;                            // lives longer than the pipeline
    std::size_t message_octets;              // most for Sign and SignStream
  };
  explicit SigningService(const Parts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* Sign(grpc::CallbackServerContext* context, const api::SignRequest* request,
                                 api::SignResponse* response) override;
  grpc::ServerBidiReactor<api::SignRequest, api::SignStreamResponse>* SignStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerReadReactor<api::MessageChunk>* SignLarge(grpc::CallbackServerContext* context,
                                                        api::SignResponse* response) override;
  grpc::ServerUnaryReactor* SignDigest(grpc::CallbackServerContext* context, const api::SignDigestRequest* request,
                                       api::SignResponse* response) override;

 private:
  const Parts parts_;
};

}  // namespace hallmark::service
