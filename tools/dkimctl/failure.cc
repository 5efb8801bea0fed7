#include "tools/dkimctl/failure.h"

#include <stdexcept>

#include "firmware/runtime/printable.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace hallmark::ctl {

namespace {

// gRPC's "failed to connect to all addresses; last error: UNKNOWN: ..." without what an operator can do nothing with.
std::string WithoutPreamble(const std::string& message) {
  constexpr std::string_view kPreamble = "last error: ", kCode = "UNKNOWN: ";
  const std::size_t at = message.find(kPreamble);
  if (at == std::string::npos) return message;
  const std::string rest = message.substr(at + kPreamble.size());
  return rest.starts_with(kCode) ? rest.substr(kCode.size()) : rest;
}

// What gRPC says below signerd, which then sees nothing of the call.
bool IsLargerThanTaken(int code, const std::string& message) {
  return code == grpc::StatusCode::RESOURCE_EXHAUSTED && message.find("message larger than max") != std::string::npos;
}

}  // namespace

void throw_exception_from_error(const Failure& failure, const boost::source_location& location) {
  boost::throw_exception(std::logic_error(failure.message), location);
}

Failure Failed(std::string message) { return {ExitCode::kFailed, OneLine(message)}; }
Failure WrongUsage(std::string message) { return {ExitCode::kUsage, OneLine(message)}; }
Failure FromError(const Error& error) { return {ExitCode::kFailed, OneLine(error.message)}; }

Failure FromDetails(int code, const std::string& message, const std::string& serialized_status) {
  Failure failure;
  failure.code = code == grpc::StatusCode::UNAVAILABLE ? ExitCode::kUnavailable : ExitCode::kFailed;
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (details.ParseFromString(serialized_status)) {
    for (const auto& detail : details.details()) {
      if (detail.Is<google::rpc::ErrorInfo>() && detail.UnpackTo(&info)) failure.reason = OneLine(info.reason());
    }
  }
  std::string sentence = OneLine(message);
  if (failure.reason.empty() && IsLargerThanTaken(code, message)) {
    failure.reason = "MESSAGE_TOO_LARGE";
    sentence = "signerd takes no request of this size: send it in chunks, or its digest";
  }
  failure.message = failure.reason.empty() ? sentence : failure.reason + ": " + sentence;
  if (failure.reason == "APPROVAL_REQUIRED") {
    failure.code = ExitCode::kWaits;
    const auto id = info.metadata().find("approval");
    if (id != info.metadata().end()) failure.message += "; another officer: dkimctl approvals approve " + id->second;
  }
  return failure;
}

Failure FromStatus(const grpc::Status& status, std::string_view server) {
  Failure failure = FromDetails(status.error_code(), status.error_message(), status.error_details());
  if (!failure.reason.empty()) return failure;
  const std::string where(server);
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      failure.message = "cannot reach signerd at " + where + ": " + WithoutPreamble(failure.message) +
                        "; see that it runs, and that certificates and address in dkimctl.toml fit it";
      break;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      failure.code = ExitCode::kUnavailable;
      failure.message = "signerd at " + where + " did not answer in time; try again, or give it longer with --timeout";
      break;
    case grpc::StatusCode::UNIMPLEMENTED:
      failure.unknown_call = true;
      failure.message =
          where +
          " does not know this call; see that dkimctl.toml names signerd's listener and that both have one version";
      break;
    default:
      if (failure.message.empty()) failure.message = "signerd at " + where + " gave no reason";
      break;
  }
  return failure;
}

std::string OneLine(std::string_view text) { return WithoutControls(text, ' '); }

}  // namespace hallmark::ctl
