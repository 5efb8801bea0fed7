#include "tools/dkimload/calls.h"

#include "hallmark/signing/v1/signing.pb.h"

namespace hallmark::load {

const char* CodeName(int code) {
  constexpr const char* kNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  return code >= 0 && static_cast<std::size_t>(code) < std::size(kNames) ? kNames[code] : "UNKNOWN";
}

grpc::Slice RequestIdAlone(const std::string& id) {
  signing::v1::SignRequest request;
  request.mutable_options()->set_request_id(id);
  return {request.SerializeAsString()};
}

Ending EndingOf(const grpc::Status& status) {
  if (status.ok()) return {};
  return {status.error_code(),
          ctl::FromDetails(status.error_code(), status.error_message(), status.error_details()).reason};
}

Ending CheckAnswer(const void* data, std::size_t size) {
  signing::v1::SignResponse response;
  if (!response.ParseFromArray(data, static_cast<int>(size))) return {0, "ANSWER_MALFORMED"};
  if (response.signatures().empty()) return {0, "NO_SIGNATURE"};
  return {};
}

grpc::Slice Flat(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  if (buffer.TrySingleSlice(&slice).ok() || buffer.DumpToSingleSlice(&slice).ok()) return slice;
  return {};
}

}  // namespace hallmark::load
