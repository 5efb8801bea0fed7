#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>

#include "firmware/runtime/result.h"
#include "hallmark/signing/v1/signing.grpc.pb.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/service/transport.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark::service {

namespace api = hallmark::signing::v1;

// hallmark.signing.v1.SigningService. Handlers run on gRPC's threads and never wait: a message is handed to the
// pipeline, whose answer ends the call. Only SignLarge works on these threads, hashing each chunk as it comes.
class SigningService final : public api::SigningService::CallbackService {
 public:
  struct Parts {
    const snapshot::Current& snapshot;
    Transport& transport;
    pipeline::Pipeline& pipeline;
    std::size_t message_octets;  // most for Sign and SignStream
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
