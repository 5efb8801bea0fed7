#include "signerd/tokens/outcome_errors.h"

namespace hallmark::tokens {

Error ErrorOf(link::Outcome outcome, const std::string& token, std::uint64_t code, const std::string& detail) {
  const auto error = [&](Reason reason, const std::string& text) {
    return Error{reason, "token " + token + ": " + text + (detail.empty() ? "" : ": " + detail), code};
  };
  using enum link::Outcome;
  switch (outcome) {
    case kOk: break;
    case kKeyUndefined: return error(Reason::kInternal, "tokend does not know the key it was asked to use");
    case kKeyMissing: return error(Reason::kKeyMissing, "the token has no such key");
    case kKeyMismatch: return error(Reason::kKeyMismatch, "the token's key is not the recorded one");
    case kTokenDown: return error(Reason::kTokenDown, "the token did not answer");
    case kPinRejected: return error(Reason::kPinRejected, "the PIN was refused");
    case kTokenRefused: return error(Reason::kTokenRefused, "the token refused");
    case kExpired: return error(Reason::kDeadlineExceeded, "the deadline passed before the token was free");
    case kInvalid:
    case kStale:
    case kWantsData: return error(Reason::kInternal, "tokend did not take the request");
  }
  return error(Reason::kInternal, "tokend gave an outcome that does not exist");
}

Error ErrorOf(const link::KeyReply& reply, const std::string& token) {
  const auto error = [&](Reason reason) {
    return Error{reason, "token " + token + ": " + reply.message, reply.token_code};
  };
  using enum link::Outcome;
  switch (reply.outcome) {
    case kInvalid: return error(Reason::kInvalidArgument);
    case kStale: return error(Reason::kStateConflict);
    case kKeyMismatch: return error(Reason::kKeyMismatch);
    default: return ErrorOf(reply.outcome, token, reply.token_code, reply.message);
  }
}

}  // namespace hallmark::tokens
