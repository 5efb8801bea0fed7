#include "signerd/keys/rotation_values.h"

#include <set>

#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/author.h"

namespace hallmark::keys {
namespace {

// How long mail may stay in a queue before it is verified: a record must not go sooner after its key's last signature.
constexpr std::chrono::seconds kShortestRetire = std::chrono::days(7);

void Replace(std::string& text, std::string_view name, const std::string& value) {
  for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size())) {
    text.replace(at, name.size(), value);
  }
}

Status Invalid(const std::string& what) { return MakeError(Reason::kInvalidArgument, what); }

Status CheckTime(const char* field, std::chrono::seconds value, std::chrono::seconds least, std::chrono::seconds most) {
  if (value >= least && value <= most) return Ok();
  return Invalid(std::string(field) + ": " + std::to_string(value.count()) + " s; expected " +
                 std::to_string(least.count()) + " to " + std::to_string(most.count()));
}

}  // namespace

std::string FillSelector(std::string scheme, dkim::Algorithm algorithm, const std::string& date,
                         const std::string& random) {
  Replace(scheme, "{date}", date);
  Replace(scheme, "{letter}", std::string(dkim::InfoOf(algorithm).letter));
  Replace(scheme, "{random}", random);
  return scheme;
}

Status CheckRotationValues(const RotationValues& values) {
  using std::chrono::days, std::chrono::hours, std::chrono::minutes;
  if (values.algorithms.empty()) return Invalid("algorithms: none");
  std::set<dkim::Algorithm> seen;
  for (const dkim::Algorithm algorithm : values.algorithms) {
    if (!seen.insert(algorithm).second) return Invalid("algorithms: two of the same kind");
  }
  // Many receivers do not take Ed25519 yet: alone it is no signature to them (RFC 8463 section 4).
  if (!seen.contains(dkim::Algorithm::kRsaSha256)) return Invalid("algorithms: an RSA key is needed beside Ed25519");
  Status done = CheckTime("lifetime_seconds", values.lifetime, days(1), days(3650));
  if (done) done = CheckTime("propagation_seconds", values.propagation, std::chrono::seconds(1), days(30));
  if (done) done = CheckTime("retire_seconds", values.retire, kShortestRetire, days(365));
  if (done) done = CheckTime("revoked_seconds", values.revoked, hours(1), days(3650));
  if (done) done = CheckTime("trash_seconds", values.trash, hours(1), days(3650));
  if (done) done = CheckTime("record_ttl_seconds", values.record_ttl, minutes(1), days(7));
  if (!done) return done;
  const std::string sample = FillSelector(values.selector, dkim::Algorithm::kRsaSha256, "20260131", "abcd");
  done = dkim::ValidateSelector(sample);
  if (!done) return Invalid("selector: " + done.error().message);
  if (values.selector.find("{letter}") == std::string::npos && values.selector.find("{random}") == std::string::npos) {
    return Invalid("selector: \"" + values.selector +
                   "\" gives every key of a set the same; expected {letter} or {random}");
  }
  if (!values.delegation.empty()) {
    const auto zone = dkim::NormalizeDomain(values.delegation);
    if (!zone) return Invalid("delegation: " + zone.error().message);
  }
  if (values.backup_waiver.size() > 1000) return Invalid("backup_waiver: over 1,000 octets");
  return Ok();
}

}  // namespace hallmark::keys
