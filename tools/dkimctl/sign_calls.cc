#include "tools/dkimctl/sign_calls.h"

#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/header.h"
#include "tools/relay-client/digest_body.h"

namespace hallmark::ctl {
namespace {

using signing::v1::SignDigestRequest;
using signing::v1::SignOptions;
using signing::v1::SignResponse;

Failure WithReason(const Error& error) {
  Failure failure = FromError(error);
  failure.reason = ReasonName(error.reason);
  failure.message = failure.reason + ": " + failure.message;
  return failure;
}

}  // namespace

Answer<SignDigestRequest> MakeDigest(const MessageSource& source, std::size_t piece, dkim::Canonicalization body) {
  dkim::HeaderReader header;
  dkim::BodyHasher hasher(body);
  SignDigestRequest request;
  Status parsed = Ok();
  const auto read = source.ForEach(piece, [&](std::string_view text) {
    if (!header.done()) {
      const auto taken = header.Push(text);
      if (!taken) {
        parsed = taken.error();
        return false;
      }
      request.mutable_header()->append(text.substr(0, *taken));
      text.remove_prefix(*taken);
    }
    hasher.Push(text);
    return true;
  });
  if (!read) return read.error();
  if (!parsed) return WithReason(parsed.error());
  const dkim::BodyHash hash = hasher.Finish();
  relay::SetBody(hash, hasher.facts(), request);
  request.set_body_canonicalization(body == dkim::Canonicalization::kSimple ? signing::v1::CANONICALIZATION_SIMPLE
                                                                            : signing::v1::CANONICALIZATION_RELAXED);
  return request;
}

SignCalls::SignCalls(const std::shared_ptr<grpc::Channel>& channel, std::string server,
                     std::chrono::milliseconds timeout)
    : stub_(signing::v1::SigningService::NewStub(channel)), server_(std::move(server)), timeout_(timeout) {}

void SignCalls::SetDeadline(grpc::ClientContext& call, std::uint64_t octets) const {
  call.set_deadline(std::chrono::system_clock::now() + timeout_ + std::chrono::seconds(octets >> 20));
}

Answer<SignResponse> SignCalls::Sign(const MessageSource& source, const SignOptions& options) const {
  auto message = source.ReadAll();
  if (!message) return message.error();
  signing::v1::SignRequest request;
  request.set_message(std::move(*message));
  *request.mutable_options() = options;
  grpc::ClientContext call;
  SetDeadline(call, source.size());
  SignResponse response;
  const grpc::Status status = stub_->Sign(&call, request, &response);
  if (!status.ok()) return FromStatus(status, server_);
  return response;
}

Answer<SignResponse> SignCalls::SignLarge(const MessageSource& source, const SignOptions& options,
                                          std::size_t chunk) const {
  grpc::ClientContext call;
  SetDeadline(call, source.size());
  SignResponse response;
  const auto writer = stub_->SignLarge(&call, &response);
  signing::v1::MessageChunk message;
  *message.mutable_options() = options;
  const auto read = source.ForEach(chunk, [&](std::string_view piece) {
    message.set_data(piece.data(), piece.size());
    const bool written = writer->Write(message);
    message.clear_options();
    return written;
  });
  if (!read) call.TryCancel();
  if (message.has_options()) writer->Write(message);  // the message is empty
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!read) return read.error();
  if (!status.ok()) return FromStatus(status, server_);
  return response;
}

Answer<SignResponse> SignCalls::SignDigest(const MessageSource& source, const SignOptions& options, std::size_t chunk,
                                           dkim::Canonicalization body) const {
  auto request = MakeDigest(source, chunk, body);
  if (!request) return request.error();
  *request->mutable_options() = options;
  grpc::ClientContext call;
  SetDeadline(call, 0);
  SignResponse response;
  const grpc::Status status = stub_->SignDigest(&call, *request, &response);
  if (!status.ok()) return FromStatus(status, server_);
  return response;
}

}  // namespace hallmark::ctl
