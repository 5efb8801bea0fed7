#include "signerd/operators/totp.h"

#include <liboath/oath.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <cctype>
#include <cstdlib>
#include <memory>

namespace hallmark::totp {
namespace {

constexpr std::size_t kSecretOctets = 20;
constexpr std::string_view kSecretParameter = "secret=";

std::string PercentEncode(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < 0x80 && (std::isalnum(octet) != 0 || c == '-' || c == '.' || c == '_' || c == '~')) {
      encoded += c;
    } else {
      encoded += {'%', kHex[octet >> 4], kHex[octet & 0x0f]};
    }
  }
  return encoded;
}

Error NotBase32() { return MakeError(Reason::kInvalidArgument, "the TOTP secret is not valid base32"); }

}  // namespace

Result<Bytes> NewSecret() {
  Bytes secret(kSecretOctets);
  if (RAND_bytes(secret.data(), static_cast<int>(secret.size())) != 1) {
    return MakeError(Reason::kInternal, "no random octets for a TOTP secret");
  }
  return secret;
}

std::int64_t StepAt(std::chrono::sys_seconds now) { return now.time_since_epoch() / kStep; }

std::string CodeAt(const Bytes& secret, std::int64_t step) {
  char code[kDigits + 1] = {};
  // Fails only for digits that it does not know and without memory.
  if (oath_hotp_generate(reinterpret_cast<const char*>(secret.data()), secret.size(), static_cast<std::uint64_t>(step),
                         kDigits, false, OATH_HOTP_DYNAMIC_TRUNCATION, code) != OATH_OK) {
    std::abort();
  }
  return code;
}

std::optional<std::int64_t> MatchingStep(const Bytes& secret, std::string_view code, std::chrono::sys_seconds now) {
  if (code.size() != kDigits) return std::nullopt;
  std::optional<std::int64_t> match;
  for (std::int64_t step = StepAt(now) - 1; step <= StepAt(now) + 1; ++step) {
    const std::string right = CodeAt(secret, step);
    if (CRYPTO_memcmp(right.data(), code.data(), right.size()) == 0) match = step;
  }
  return match;
}

std::string Base32(const Bytes& secret) {
  char* raw = nullptr;
  std::size_t size = 0;
  if (oath_base32_encode(reinterpret_cast<const char*>(secret.data()), secret.size(), &raw, &size) != OATH_OK) {
    std::abort();  // only without memory
  }
  const std::unique_ptr<char, decltype(&std::free)> held(raw, &std::free);
  std::string text(raw, size);
  while (text.ends_with('=')) text.pop_back();
  return text;
}

Result<Bytes> FromBase32(std::string_view text) {
  char* raw = nullptr;
  std::size_t size = 0;
  if (text.empty() || oath_base32_decode(text.data(), text.size(), &raw, &size) != OATH_OK) return NotBase32();
  const std::unique_ptr<char, decltype(&std::free)> held(raw, &std::free);
  Bytes secret(raw, raw + size);
  OPENSSL_cleanse(raw, size);
  if (secret.empty()) return NotBase32();
  return secret;
}

std::string OtpauthUri(std::string_view name, const Bytes& secret) {
  return "otpauth://totp/Hallmark:" + PercentEncode(name) + "?" + std::string(kSecretParameter) + Base32(secret) +
         "&issuer=Hallmark";
}

Result<Bytes> SecretOf(std::string_view otpauth_uri) {
  const std::size_t at = otpauth_uri.find(kSecretParameter);
  if (!otpauth_uri.starts_with("otpauth://totp/") || at == std::string_view::npos) {
    return MakeError(Reason::kInvalidArgument, "this is no otpauth URI with a secret");
  }
  const std::string_view rest = otpauth_uri.substr(at + kSecretParameter.size());
  return FromBase32(rest.substr(0, rest.find('&')));
}

}  // namespace hallmark::totp
