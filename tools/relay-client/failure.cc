#include "tools/relay-client/failure.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "firmware/runtime/printable.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace hallmark::relay {
namespace {

constexpr std::array<std::string_view, 2> kLimits = {"RATE_EXCEEDED", "DAILY_VOLUME_EXCEEDED"};
// Refusals that say something about the signer's state or this relay's standing, and nothing about the message.
constexpr std::array<std::string_view, 6> kSignersTrouble = {"CALLER_UNKNOWN", "CERTIFICATE_REVOKED", "NO_ACTIVE_KEY",
                                                             "KEY_MISSING",    "KEY_MISMATCH",        "TOKEN_REFUSED"};
// Not CERTIFICATE_REVOKED: a revocation that one server has not heard of yet is none to get around.
constexpr std::array<std::string_view, 7> kOneServers = {"CALLER_UNKNOWN",   "DOMAIN_NOT_CONFIGURED", "NO_ACTIVE_KEY",
                                                         "KEY_MISSING",      "KEY_MISMATCH",          "TOKEN_REFUSED",
                                                         "SIGNATURE_INVALID"};

template <class List>
bool Contains(const List& list, std::string_view reason) {
  return std::find(list.begin(), list.end(), reason) != list.end();
}

FailureKind KindOf(grpc::StatusCode code, std::string_view reason) {
  if (Contains(kLimits, reason)) return FailureKind::kLimited;
  if (Contains(kSignersTrouble, reason)) return FailureKind::kUnavailable;
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::FAILED_PRECONDITION: return FailureKind::kRefused;
    default: return FailureKind::kUnavailable;
  }
}

std::string OneLine(std::string_view text) { return WithoutControls(text, ' '); }

// gRPC's "connections to all backends failing; last error: UNKNOWN: ..." without what nobody can do anything with.
std::string WithoutPreamble(std::string_view message) {
  constexpr std::string_view kPreamble = "last error: ", kCode = "UNKNOWN: ";
  const std::size_t at = message.find(kPreamble);
  if (at != std::string_view::npos) message.remove_prefix(at + kPreamble.size());
  if (message.starts_with(kCode)) message.remove_prefix(kCode.size());
  // What gRPC says where the server's health service does not say SERVING.
  if (message.find("backend unhealthy") != std::string_view::npos) return "it says that it cannot sign now";
  return OneLine(message);
}

// A day at most, as no relay waits for longer and the sum must not overflow; none where it is less than nothing.
std::chrono::milliseconds WaitOf(const google::protobuf::Duration& delay) {
  constexpr std::int64_t kMost = 24 * 60 * 60;  // seconds
  const std::int64_t seconds = std::clamp<std::int64_t>(delay.seconds(), 0, kMost);
  const std::int64_t wait = seconds * 1000 + delay.nanos() / 1'000'000;
  return std::chrono::milliseconds(std::clamp<std::int64_t>(wait, 0, kMost * 1000));
}

// The server did not answer, or it is none of ours.
Failure WithoutReason(const grpc::Status& status, const std::string& server) {
  const std::string message = "signerd at " + server + ": " + WithoutPreamble(status.error_message());
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE: return {FailureKind::kUnavailable, "UNREACHABLE", message, {}};
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {FailureKind::kUnavailable, "TIMEOUT", "signerd at " + server + " did not answer in time", {}};
    default: return {FailureKind::kUnavailable, "INTERNAL", message, {}};
  }
}

}  // namespace

bool MayBeOneServers(const Failure& failure) { return Contains(kOneServers, failure.reason); }

Failure ToFailure(const grpc::Status& status, const std::string& server) {
  Failure failure;
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      if (detail.UnpackTo(&info)) {
        if (info.domain() == "hallmark") failure.reason = OneLine(info.reason());
      } else if (detail.UnpackTo(&retry)) {
        failure.retry_after = WaitOf(retry.retry_delay());
      }
    }
  }
  if (failure.reason.empty()) return WithoutReason(status, server);
  failure.kind = KindOf(status.error_code(), failure.reason);
  failure.message = OneLine(status.error_message());
  return failure;
}

}  // namespace hallmark::relay
