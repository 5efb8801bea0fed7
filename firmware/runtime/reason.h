#pragma once

#include <cstdint>
#include <string_view>

namespace hallmark {

// Why something was refused or failed. A program matches on this; a person reads Error::message.
// The names that leave the process (ReasonName) are stable: relays and scripts depend on them.
enum class Reason : std::uint8_t {
  // The request or the message.
  kInvalidArgument,
  kMessageTooLarge,
  kHeaderTooLarge,
  kHeaderMalformed,
  kFromMissing,
  kFromRepeated,
  kFromUnusable,
  kBareLineEnding,
  // Who asks, and for what.
  kCallerUnknown,
  kCertificateRevoked,
  kDomainNotAllowed,
  kDomainNotConfigured,
  kNoActiveKey,
  // What a partner may do.
  kPartnerUnknown,
  kPartnerNotAllowed,  // this relay may not speak for it
  kPartnerSuspended,
  kPartnerRevoked,
  kPartnerNotValid,   // before or after its dates
  kAuthorNotAllowed,  // the author domain or the address in From
  kNotAligned,        // From and the signing domain, as DMARC compares them
  kFieldForbidden,
  kFieldRequired,
  kSizeNotAllowed,
  kRateExceeded,
  kDailyVolumeExceeded,
  kRecipientsExceeded,
  // Operators.
  kLoginRequired,
  kLoginRefused,
  kLockedOut,
  kRoleNotAllowed,
  kApprovalRequired,
  // Things by name.
  kNotFound,
  kAlreadyExists,
  kStateConflict,
  // Room and time.
  kOverloaded,
  kDeadlineExceeded,
  kCancelled,
  kShuttingDown,
  kRequestIdReused,  // for another message
  kLedgerUnavailable,
  // The token.
  kTokenDown,
  kTokenRefused,
  kPinRejected,
  kKeyMissing,
  kKeyMismatch,
  kSignatureInvalid,
  // DNS.
  kDnsUnavailable,    // no usable answer, for now
  kDnsRefused,        // an update that the server will not do for us
  kRecordConflict,    // the name has a record that is not ours
  kRecordNotVisible,  // not at every authoritative server
  // The machine.
  kConfigInvalid,
  kStorageFailed,
  kIoFailed,
  kInternal,
};

// The stable name, in capitals ("DOMAIN_NOT_ALLOWED"). Any thread; never fails.
std::string_view ReasonName(Reason reason);

}  // namespace hallmark
