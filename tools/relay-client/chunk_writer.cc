#include "tools/relay-client/chunk_writer.h"

#include <utility>

namespace hallmark::relay {
namespace {

constexpr std::size_t kChunk = 256u << 10;

}  // namespace

ChunkWriter::ChunkWriter(const LargeMessage& message, std::function<void(const grpc::Status&)> done)
    : message_(message), done_(std::move(done)) {}

void ChunkWriter::Start(signing::v1::SigningService::Stub& stub, grpc::ClientContext& context,
                        signing::v1::SignResponse& response) {
  stub.async()->SignLarge(&context, &response, this);
  *chunk_.mutable_options() = message_.options;
  WriteNext();
  StartCall();
}

void ChunkWriter::WriteNext() {
  const std::string_view piece = std::string_view(message_.octets).substr(written_, kChunk);
  chunk_.set_data(piece.data(), piece.size());
  written_ += piece.size();
  if (written_ == message_.octets.size()) {
    StartWriteLast(&chunk_, grpc::WriteOptions());
  } else {
    StartWrite(&chunk_);
  }
}

void ChunkWriter::OnWriteDone(bool ok) {
  chunk_.clear_options();
  if (ok && written_ < message_.octets.size()) WriteNext();
}

void ChunkWriter::OnDone(const grpc::Status& status) {
  const auto done = std::move(done_);
  done(status);
}

}  // namespace hallmark::relay
