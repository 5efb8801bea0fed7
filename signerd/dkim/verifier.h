#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::dkim {

// RFC 8601 section 2.7.1, in our words: temperror is worth another try, permerror is not.
enum class Verdict : std::uint8_t { kPass, kFail, kPermError, kTempError };
std::string_view VerdictName(Verdict verdict);  // "pass", "fail", "permerror", "temperror"

struct SignatureVerdict {
  std::string domain, selector, algorithm, canonicalization;  // as the field says; empty where it cannot be read
  Verdict verdict = Verdict::kPermError;
  std::string reason;     // a sentence; empty for a pass
  std::string body_hash;  // bh=, base64
};

// The values of the TXT records at "selector._domainkey.domain", each with its strings joined. kNotFound where there is
// none; any other error counts as temporary.
using KeyLookup = std::function<Result<std::vector<std::string>>(const std::string& name)>;

// Verifies each DKIM-Signature of a message by itself, from the top (RFC 6376 section 6.1). At most 20 are looked at.
// Line ends are normalized to CRLF first. An error means that the message has no header that can be parsed.
Result<std::vector<SignatureVerdict>> VerifyMessage(std::string_view message, const KeyLookup& lookup,
                                                    std::chrono::sys_seconds now);

}  // namespace hallmark::dkim
