#include "signerd/keys/rotation_policy.h"

#include <openssl/rand.h>

#include <ctime>

#include "signerd/keys/rotation_values.h"

namespace hallmark::keys {
namespace {

constexpr int kSelectorAttempts = 20;
constexpr int kRandomLetters = 4;

// Without letters and digits that people take for each other.
Result<std::string> RandomLetters() {
  constexpr std::string_view kAlphabet = "abcdefghijkmnpqrstuvwxyz23456789";  // 32: each octet is as likely
  static_assert(kAlphabet.size() == 32);
  std::uint8_t octets[kRandomLetters];
  if (RAND_bytes(octets, sizeof octets) != 1) return MakeError(Reason::kInternal, "no random octets for a selector");
  std::string text;
  for (const std::uint8_t octet : octets) text.push_back(kAlphabet[octet % kAlphabet.size()]);
  return text;
}

}  // namespace

std::string DateText(std::chrono::sys_seconds time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[16];
  std::strftime(text, sizeof text, "%Y%m%d", &utc);
  return text;
}

Result<store::RotationPolicy> PolicyOf(store::Store& store, const std::string& domain) {
  auto own = store.GetRotationPolicy(domain);
  if (!own) return own.error();
  if (*own) return std::move(**own);
  auto common = store.GetRotationPolicy("");
  if (!common) return common.error();
  if (*common) return std::move(**common);
  return store::RotationPolicy{};
}

Status ValidatePolicy(const store::RotationPolicy& policy) {
  RotationValues values{.lifetime = policy.lifetime,
                        .propagation = policy.propagation,
                        .retire = policy.retire,
                        .revoked = policy.revoked,
                        .trash = policy.trash,
                        .record_ttl = policy.record_ttl,
                        .selector = policy.selector,
                        .delegation = policy.delegation,
                        .backup_waiver = policy.backup_waiver};
  for (const auto& kind : policy.algorithms) values.algorithms.push_back(kind.algorithm);
  return CheckRotationValues(values);
}

Status CheckToken(const Signer& signer, const store::RotationPolicy& policy) {
  const std::string token = policy.token.empty() ? signer.DefaultToken() : policy.token;
  if (!signer.HasToken(token)) {
    return MakeError(Reason::kNotFound, "the policy names the token " + token + ", which is not configured");
  }
  for (const store::KeyKind& kind : policy.algorithms) {
    const Status can = signer.CanMake(token, kind.algorithm);
    if (can) continue;
    Error error = can.error();
    switch (kind.algorithm) {
      case dkim::Algorithm::kRsaSha256:
        error.message += ", which the rotation policy asks for: name another token (dkimctl key policy set --token)";
        break;
      case dkim::Algorithm::kEd25519Sha256:
        error.message +=
            ", which the rotation policy asks for: take them out of it (dkimctl key policy set --algorithms rsa2048), "
            "or name a token that makes them (--token)";
        break;
    }
    return error;
  }
  return Ok();
}

Result<std::string> NewSelector(store::Store& store, const store::RotationPolicy& policy, const std::string& domain,
                                dkim::Algorithm algorithm, std::chrono::sys_seconds now) {
  for (int attempt = 0; attempt < kSelectorAttempts; ++attempt) {
    const auto random = RandomLetters();
    if (!random) return random.error();
    const std::string selector = FillSelector(policy.selector, algorithm, DateText(now), *random);
    const auto taken = store.SelectorTaken(domain, selector);
    if (!taken) return taken.error();
    if (!*taken) return selector;
  }
  return MakeError(Reason::kAlreadyExists, "the scheme " + policy.selector + " gives only selectors that " + domain +
                                               " had before: put {random} into it");
}

}  // namespace hallmark::keys
