#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "hallmark/signing/v1/signing.grpc.pb.h"
#include "tools/relay-client/request.h"

namespace hallmark::relay {

// One SignLarge call. Lives until `done` was called, once, on a thread of gRPC; it may be destroyed there.
class ChunkWriter final : public grpc::ClientWriteReactor<signing::v1::MessageChunk> {
 public:
  // What is passed outlives it.
  ChunkWriter(const LargeMessage& message, std::function<void(const grpc::Status&)> done);
  void Start(signing::v1::SigningService::Stub& stub, grpc::ClientContext& context,
             signing::v1::SignResponse& response);

 private:
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void WriteNext();
  const LargeMessage& message_;
  std::function<void(const grpc::Status&)> done_;
  signing::v1::MessageChunk chunk_;
  std::size_t written_ = 0;
};

}  // namespace hallmark::relay
