#include "firmware/runtime/result.h"

#include <cstdlib>
#include <stdexcept>

namespace hallmark {

void throw_exception_from_error(const Error& error, const boost::source_location& location) {
  throw std::logic_error(std::string(ReasonName(error.reason)) + ": " + error.message + " (unchecked at " +
                         location.file_name() + ":" + std::to_string(location.line()) + ")");
}

// No default: a new Reason does not compile until it has a name.
std::string_view ReasonName(Reason reason) {
  using enum Reason;
  switch (reason) {
    case kInvalidArgument: return "INVALID_ARGUMENT";
    case kMessageTooLarge: return "MESSAGE_TOO_LARGE";
    case kHeaderTooLarge: return "HEADER_TOO_LARGE";
    case kHeaderMalformed: return "HEADER_MALFORMED";
    case kFromMissing: return "FROM_MISSING";
    case kFromRepeated: return "FROM_REPEATED";
    case kFromUnusable: return "FROM_UNUSABLE";
    case kBareLineEnding: return "BARE_LINE_ENDING";
    case kCallerUnknown: return "CALLER_UNKNOWN";
    case kCertificateRevoked: return "CERTIFICATE_REVOKED";
    case kDomainNotAllowed: return "DOMAIN_NOT_ALLOWED";
    case kDomainNotConfigured: return "DOMAIN_NOT_CONFIGURED";
    case kNoActiveKey: return "NO_ACTIVE_KEY";
    case kPartnerUnknown: return "PARTNER_UNKNOWN";
    case kPartnerNotAllowed: return "PARTNER_NOT_ALLOWED";
    case kPartnerSuspended: return "PARTNER_SUSPENDED";
    case kPartnerRevoked: return "PARTNER_REVOKED";
    case kPartnerNotValid: return "PARTNER_NOT_VALID";
    case kAuthorNotAllowed: return "AUTHOR_NOT_ALLOWED";
    case kNotAligned: return "NOT_ALIGNED";
    case kFieldForbidden: return "FIELD_FORBIDDEN";
    case kFieldRequired: return "FIELD_REQUIRED";
    case kSizeNotAllowed: return "SIZE_NOT_ALLOWED";
    case kRateExceeded: return "RATE_EXCEEDED";
    case kDailyVolumeExceeded: return "DAILY_VOLUME_EXCEEDED";
    case kRecipientsExceeded: return "RECIPIENTS_EXCEEDED";
    case kLoginRequired: return "LOGIN_REQUIRED";
    case kLoginRefused: return "LOGIN_REFUSED";
    case kLockedOut: return "LOCKED_OUT";
    case kRoleNotAllowed: return "ROLE_NOT_ALLOWED";
    case kApprovalRequired: return "APPROVAL_REQUIRED";
    case kNotFound: return "NOT_FOUND";
    case kAlreadyExists: return "ALREADY_EXISTS";
    case kStateConflict: return "STATE_CONFLICT";
    case kOverloaded: return "OVERLOADED";
    case kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case kCancelled: return "CANCELLED";
    case kShuttingDown: return "SHUTTING_DOWN";
    case kRequestIdReused: return "REQUEST_ID_REUSED";
    case kLedgerUnavailable: return "LEDGER_UNAVAILABLE";
    case kTokenDown: return "TOKEN_DOWN";
    case kTokenRefused: return "TOKEN_REFUSED";
    case kPinRejected: return "PIN_REJECTED";
    case kKeyMissing: return "KEY_MISSING";
    case kKeyMismatch: return "KEY_MISMATCH";
    case kSignatureInvalid: return "SIGNATURE_INVALID";
    case kDnsUnavailable: return "DNS_UNAVAILABLE";
    case kDnsRefused: return "DNS_REFUSED";
    case kRecordConflict: return "RECORD_CONFLICT";
    case kRecordNotVisible: return "RECORD_NOT_VISIBLE";
    case kConfigInvalid: return "CONFIG_INVALID";
    case kStorageFailed: return "STORAGE_FAILED";
    case kIoFailed: return "IO_FAILED";
    case kInternal: return "INTERNAL";
  }
  std::abort();  // Unreachable: Reason values come only from this program.
}

}  // namespace hallmark
