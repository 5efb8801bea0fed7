#pragma once

#include <grpcpp/support/status.h>

#include <chrono>

#include "firmware/runtime/result.h"
#include "google/rpc/status.pb.h"

// The one place where an Error becomes a gRPC status.
namespace hallmark::service {

// Who reads the error. A relay learns what it can do about it; details of the token go to operators only.
enum class Audience : std::uint8_t { kRelay, kOperator };

// With a google.rpc.Status in the details: ErrorInfo always, RetryInfo where waiting helps; `now` is for what is over
// until tomorrow (UTC).
google::rpc::Status ToRpcStatus(const Error& error, Audience audience,
                                std::chrono::system_clock::time_point now = std::chrono::system_clock::now());
grpc::Status ToGrpcStatus(const Error& error, Audience audience);

}  // namespace hallmark::service
