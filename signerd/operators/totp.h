#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

// Time-based one-time passwords (RFC 6238) as authenticators know them: HMAC-SHA-1, six digits, a step of 30 seconds. A
// library of its own, for signerd and for dkimctl. Any thread.
namespace hallmark::totp {

inline constexpr std::chrono::seconds kStep{30};
inline constexpr int kDigits = 6;

// 160 random bits, as RFC 4226 section 4 recommends.
Result<Bytes> NewSecret();

// The number of the time step.
std::int64_t StepAt(std::chrono::sys_seconds now);
// Six digits.
std::string CodeAt(const Bytes& secret, std::int64_t step);

// The step within one of `now` whose code this is; the newest where there are several. Compares in constant time.
std::optional<std::int64_t> MatchingStep(const Bytes& secret, std::string_view code, std::chrono::sys_seconds now);

// RFC 4648 section 6, without padding.
std::string Base32(const Bytes& secret);
// Takes blanks and lower case, as people write them. kInvalidArgument.
Result<Bytes> FromBase32(std::string_view text);

// "otpauth://totp/Hallmark:NAME?secret=...&issuer=Hallmark"; `name` may hold anything.
std::string OtpauthUri(std::string_view name, const Bytes& secret);
// The secret of such a URI. kInvalidArgument.
Result<Bytes> SecretOf(std::string_view otpauth_uri);

}  // namespace hallmark::totp
