#include "tools/milter/answer.h"

namespace hallmark::milter {
namespace {

constexpr std::size_t kMostText = 300;  // an SMTP reply line has 512 octets (RFC 5321 section 4.5.3.1.5)

bool IsAboutTheMessage(std::string_view reason) {
  return reason.starts_with("HEADER_") || reason.starts_with("FROM_") || reason.starts_with("FIELD_") ||
         reason == "BARE_LINE_ENDING" || reason == "MESSAGE_TOO_LARGE";
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable;
  for (const char c : text.substr(0, kMostText)) printable += c >= ' ' && c <= '~' && c != '%' ? c : '?';
  return printable;
}

Trouble TroubleOf(const relay::Failure& failure) {
  switch (failure.kind) {
    case relay::FailureKind::kUnavailable: return Trouble::kUnavailable;
    case relay::FailureKind::kLimited: return Trouble::kLimited;
    case relay::FailureKind::kRefused: break;
  }
  return failure.reason == "DOMAIN_NOT_CONFIGURED" ? Trouble::kUnconfigured : Trouble::kRefused;
}

Choice Choose(const Choices& choices, Trouble trouble) {
  switch (trouble) {
    case Trouble::kUnavailable: return choices.unavailable;
    case Trouble::kLimited: return Choice::kTempfail;
    case Trouble::kRefused: return choices.refused;
    case Trouble::kUnconfigured: break;
  }
  return choices.unconfigured;
}

std::string ReplyText(Choice choice, const relay::Failure& failure) {
  if (failure.kind == relay::FailureKind::kUnavailable) {
    return choice == Choice::kReject ? "550 5.3.0 The message cannot be signed"
                                     : "451 4.3.0 The message cannot be signed now; please try again";
  }
  const std::string code = choice == Choice::kReject ? "550 5." : "451 4.";
  const std::string subject = IsAboutTheMessage(failure.reason) ? "6.0" : "7.1";
  return code + subject + " The message is not signed: " + Printable(failure.reason + ": " + failure.message);
}

}  // namespace hallmark::milter
