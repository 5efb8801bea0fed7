#include "signerd/keys/rotation_policy.h"

#include <openssl/rand.h>

#include <ctime>
#include <set>

#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/author.h"

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

void Replace(std::string& text, std::string_view name, const std::string& value) {
  for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size())) {
    text.replace(at, name.size(), value);
  }
}

std::string Fill(std::string scheme, dkim::Algorithm algorithm, const std::string& date, const std::string& random) {
  Replace(scheme, "{date}", date);
  Replace(scheme, "{letter}", std::string(dkim::InfoOf(algorithm).letter));
  Replace(scheme, "{random}", random);
  return scheme;
}

Status Invalid(const std::string& what) { return MakeError(Reason::kInvalidArgument, what); }

Status CheckTime(const char* field, std::chrono::seconds value, std::chrono::seconds least, std::chrono::seconds most) {
  if (value >= least && value <= most) return Ok();
  return Invalid(std::string(field) + ": " + std::to_string(value.count()) + " s; expected " +
                 std::to_string(least.count()) + " to " + std::to_string(most.count()));
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
  using std::chrono::days, std::chrono::hours, std::chrono::minutes;
  if (policy.algorithms.empty()) return Invalid("algorithms: none");
  std::set<dkim::Algorithm> seen;
  for (const auto& kind : policy.algorithms) {
    if (!seen.insert(kind.algorithm).second) return Invalid("algorithms: two of the same kind");
  }
  // Many receivers do not take Ed25519 yet: alone it is no signature to them (RFC 8463 section 4).
  if (!seen.contains(dkim::Algorithm::kRsaSha256)) return Invalid("algorithms: an RSA key is needed beside Ed25519");
  Status done = CheckTime("lifetime_seconds", policy.lifetime, days(1), days(3650));
  if (done) done = CheckTime("propagation_seconds", policy.propagation, std::chrono::seconds(1), days(30));
  if (done) done = CheckTime("retire_seconds", policy.retire, kShortestRetire, days(365));
  if (done) done = CheckTime("revoked_seconds", policy.revoked, hours(1), days(3650));
  if (done) done = CheckTime("trash_seconds", policy.trash, hours(1), days(3650));
  if (done) done = CheckTime("record_ttl_seconds", policy.record_ttl, minutes(1), days(7));
  if (!done) return done;
  const std::string sample = Fill(policy.selector, dkim::Algorithm::kRsaSha256, "20260131", "abcd");
  done = dkim::ValidateSelector(sample);
  if (!done) return Invalid("selector: " + done.error().message);
  if (policy.selector.find("{letter}") == std::string::npos && policy.selector.find("{random}") == std::string::npos) {
    return Invalid("selector: \"" + policy.selector +
                   "\" gives every key of a set the same; expected {letter} or {random}");
  }
  if (!policy.delegation.empty()) {
    const auto zone = dkim::NormalizeDomain(policy.delegation);
    if (!zone) return Invalid("delegation: " + zone.error().message);
  }
  if (policy.backup_waiver.size() > 1000) return Invalid("backup_waiver: over 1,000 octets");
  return Ok();
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
    const std::string selector = Fill(policy.selector, algorithm, DateText(now), *random);
    const auto taken = store.SelectorTaken(domain, selector);
    if (!taken) return taken.error();
    if (!*taken) return selector;
  }
  return MakeError(Reason::kAlreadyExists, "the scheme " + policy.selector + " gives only selectors that " + domain +
                                               " had before: put {random} into it");
}

}  // namespace hallmark::keys
