#include "signerd/service/errors.h"

#include <cstdio>
#include <cstdlib>

#include "google/rpc/error_details.pb.h"
#include "signerd/service/cut_text.h"

namespace hallmark::service {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kNever = 0, kTomorrow = -1;
// It goes into the trailers twice, encoded, and a client takes 8 kB of those: what is longer would take the whole
// status with it.
constexpr std::size_t kMostMessage = 1500;

struct Answer {
  grpc::StatusCode code;
  // kNever: trying again as it is does not help; kTomorrow: when the day (UTC) is over.
  std::int64_t retry_after_ms;
  // Said to a relay instead of the error's own sentence, which is about the inside. Null: the sentence is for everyone.
  const char* relay_message;
};

// No default: a new Reason does not compile until its answer is chosen. UNAVAILABLE is the only code worth a retry as
// it stands; RESOURCE_EXHAUSTED asks for less.
Answer ToAnswer(Reason reason) {
  constexpr const char* kTokenTrouble = "the signing token is not available";
  constexpr const char* kInside = "the signer could not make this signature; its operator finds the cause in the log";
  using enum Reason;
  switch (reason) {
    case kInvalidArgument:
    case kMessageTooLarge:
    case kHeaderTooLarge:
    case kHeaderMalformed:
    case kFromMissing:
    case kFromRepeated:
    case kFromUnusable:
    case kBareLineEnding: return {grpc::StatusCode::INVALID_ARGUMENT, kNever, nullptr};
    case kCallerUnknown:
    case kCertificateRevoked:
    case kDomainNotAllowed:
    case kPartnerUnknown:
    case kPartnerNotAllowed:
    case kPartnerSuspended:
    case kPartnerRevoked:
    case kPartnerNotValid:
    case kAuthorNotAllowed:
    case kNotAligned:
    case kFieldForbidden:
    case kFieldRequired:
    case kSizeNotAllowed:
    case kRecipientsExceeded:
    case kRoleNotAllowed: return {grpc::StatusCode::PERMISSION_DENIED, kNever, nullptr};
    case kDomainNotConfigured:
    case kNoActiveKey:
    case kApprovalRequired:
    case kDnsRefused:
    case kRecordConflict:
    case kRecordNotVisible:
    case kStateConflict: return {grpc::StatusCode::FAILED_PRECONDITION, kNever, nullptr};
    case kNotFound: return {grpc::StatusCode::NOT_FOUND, kNever, nullptr};
    case kAlreadyExists: return {grpc::StatusCode::ALREADY_EXISTS, kNever, nullptr};
    case kOverloaded: return {grpc::StatusCode::RESOURCE_EXHAUSTED, 200, nullptr};
    case kRateExceeded: return {grpc::StatusCode::RESOURCE_EXHAUSTED, 1000, nullptr};
    case kDailyVolumeExceeded: return {grpc::StatusCode::RESOURCE_EXHAUSTED, kTomorrow, nullptr};
    case kLoginRequired:
    case kLoginRefused: return {grpc::StatusCode::UNAUTHENTICATED, kNever, nullptr};
    case kLockedOut: return {grpc::StatusCode::RESOURCE_EXHAUSTED, kNever, nullptr};
    case kRequestIdReused: return {grpc::StatusCode::INVALID_ARGUMENT, kNever, nullptr};
    case kLedgerUnavailable:
      return {grpc::StatusCode::UNAVAILABLE, 1000, "signatures cannot be recorded now, so none is given"};
    case kDeadlineExceeded:
      return {grpc::StatusCode::DEADLINE_EXCEEDED, kNever,
              "the call's deadline, or 30 s, passed before the message was signed"};
    case kCancelled: return {grpc::StatusCode::CANCELLED, kNever, nullptr};
    case kDnsUnavailable: return {grpc::StatusCode::UNAVAILABLE, 5000, nullptr};
    case kShuttingDown: return {grpc::StatusCode::UNAVAILABLE, 2000, nullptr};
    case kTokenDown: return {grpc::StatusCode::UNAVAILABLE, 1000, kTokenTrouble};
    case kPinRejected: return {grpc::StatusCode::UNAVAILABLE, 60000, kTokenTrouble};
    case kKeyMissing:
    case kKeyMismatch:
    case kTokenRefused:
      return {grpc::StatusCode::FAILED_PRECONDITION, kNever, "the token cannot use a key of the signing domain"};
    case kSignatureInvalid:
    case kConfigInvalid:
    case kStorageFailed:
    case kIoFailed:
    case kInternal: return {grpc::StatusCode::INTERNAL, kNever, kInside};
  }
  std::abort();  // Unreachable: Reason values come only from this program.
}

std::string Hex(std::uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%08llx", static_cast<unsigned long long>(number));
  return text;
}

milliseconds UntilTomorrow(std::chrono::system_clock::time_point now) {
  return std::chrono::ceil<milliseconds>(std::chrono::floor<std::chrono::days>(now) + std::chrono::days(1) - now);
}

}  // namespace

google::rpc::Status ToRpcStatus(const Error& error, Audience audience, std::chrono::system_clock::time_point now) {
  const Answer answer = ToAnswer(error.reason);
  const bool hide = audience == Audience::kRelay && answer.relay_message != nullptr;
  google::rpc::Status status;
  status.set_code(answer.code);
  status.set_message(hide ? answer.relay_message : CutText(error.message, kMostMessage));
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(ReasonName(error.reason)));
  info.set_domain("hallmark");
  if (audience == Audience::kOperator && error.token_code != 0)
    (*info.mutable_metadata())["ck_rv"] = Hex(error.token_code);
  if (error.approval != 0) (*info.mutable_metadata())["approval"] = std::to_string(error.approval);
  status.add_details()->PackFrom(info);
  if (answer.retry_after_ms != kNever) {
    const std::int64_t wait = answer.retry_after_ms == kTomorrow ? UntilTomorrow(now).count() : answer.retry_after_ms;
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(wait / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<std::int32_t>(wait % 1000 * 1'000'000));
    status.add_details()->PackFrom(retry);
  }
  return status;
}

grpc::Status ToGrpcStatus(const Error& error, Audience audience) {
  const google::rpc::Status status = ToRpcStatus(error, audience);
  return {static_cast<grpc::StatusCode>(status.code()), status.message(), status.SerializeAsString()};
}

}  // namespace hallmark::service
