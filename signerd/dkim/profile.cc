#include "signerd/dkim/profile.h"

#include <algorithm>
#include <string>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/author.h"

namespace hallmark::dkim {
namespace {

constexpr std::size_t kMaxList = 200;
constexpr std::size_t kMaxName = 76;  // a longer one could not be folded into 78 columns
constexpr std::size_t kMaxAuid = 320;
// Mail waits in queues for days; an expiry within the hour loses it.
constexpr std::chrono::seconds kShortestExpiry{3600};
constexpr std::chrono::seconds kLongestExpiry{10LL * 365 * 86400};

Status CheckList(const char* member, const std::vector<std::string>& list) {
  if (list.size() > kMaxList) {
    return MakeError(Reason::kInvalidArgument,
                     std::string(member) + ": expected at most " + std::to_string(kMaxList) + " names");
  }
  for (const std::string& name : list) {
    // ';' would end the tag in h= (RFC 6376 section 3.5: hdr-name excludes it).
    const bool valid = !name.empty() && name.size() <= kMaxName &&
                       std::all_of(name.begin(), name.end(), [](char c) { return IsFtext(c) && c != ';'; });
    if (!valid)
      return MakeError(Reason::kInvalidArgument,
                       std::string(member) + ": expected names of header fields, without the colon");
  }
  return Ok();
}

Status CheckAuid(const std::string& auid) {
  if (auid.empty()) return Ok();
  const std::size_t at = auid.rfind('@');
  const Error error = MakeError(Reason::kInvalidArgument, "auid: expected \"@domain\" or \"local-part@domain\"");
  if (at == std::string::npos || auid.size() > kMaxAuid || !NormalizeDomain(auid.substr(at + 1))) return error;
  const bool clean =
      std::none_of(auid.begin(), auid.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
  return clean ? Ok() : Status(error);
}

}  // namespace

SigningProfile DefaultProfile() {
  SigningProfile profile;
  profile.signed_fields = {
      "From",
      "Sender",
      "Reply-To",
      "Subject",
      "Date",
      "Message-ID",
      "To",
      "Cc",
      "MIME-Version",
      "Content-Type",
      "Content-Transfer-Encoding",
      "Content-ID",
      "Content-Description",
      "In-Reply-To",
      "References",
      "Resent-Date",
      "Resent-From",
      "Resent-Sender",
      "Resent-To",
      "Resent-Cc",
      "Resent-Message-ID",
      "List-Id",
      "List-Help",
      "List-Unsubscribe",
      "List-Unsubscribe-Post",
      "List-Subscribe",
      "List-Post",
      "List-Owner",
      "List-Archive",
      "Auto-Submitted",
      "Organization",
      "Feedback-ID",
  };
  // Not Sender: lists that change nothing else add it.
  profile.oversigned_fields = {"From",        "Reply-To",  "Subject",      "Date",         "Message-ID",
                               "To",          "Cc",        "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
                               "In-Reply-To", "References"};
  // RFC 6376 section 5.4.1: what is added, changed or removed on the way.
  profile.excluded_fields = {"Return-Path",
                             "Received",
                             "Comments",
                             "Keywords",
                             "Bcc",
                             "Resent-Bcc",
                             "DKIM-Signature",
                             "Authentication-Results",
                             "Received-SPF",
                             "ARC-Seal",
                             "ARC-Message-Signature",
                             "ARC-Authentication-Results",
                             "Delivered-To",
                             "X-Original-To"};
  return profile;
}

Status ValidateProfile(const SigningProfile& profile) {
  Status valid = CheckList("signed_fields", profile.signed_fields);
  if (valid) valid = CheckList("oversigned_fields", profile.oversigned_fields);
  if (valid) valid = CheckList("excluded_fields", profile.excluded_fields);
  if (valid) valid = CheckAuid(profile.auid);
  if (!valid) return valid;
  for (const std::string& name : profile.excluded_fields) {
    if (EqualsIgnoringCase(name, "From")) {
      return MakeError(Reason::kInvalidArgument, "excluded_fields: From must be signed (RFC 6376 section 5.4)");
    }
  }
  // Each of a domain's signatures would say that the others are not there. Where it is excluded as well it is neither.
  const auto lists_signature = [](const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(),
                       [](const std::string& name) { return EqualsIgnoringCase(name, "DKIM-Signature"); });
  };
  if (lists_signature(profile.oversigned_fields) && !lists_signature(profile.excluded_fields)) {
    return MakeError(Reason::kInvalidArgument,
                     "oversigned_fields: DKIM-Signature cannot be: a second signature would break the first");
  }
  if (profile.expires_after && (*profile.expires_after < kShortestExpiry || *profile.expires_after > kLongestExpiry)) {
    return MakeError(Reason::kInvalidArgument,
                     "expires_after: expected 3600 s to ten years; mail waits in queues for days");
  }
  return Ok();
}

}  // namespace hallmark::dkim
