#include "tools/posture/dkim.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/key_record.h"
#include "signerd/dkim/tag_list.h"
#include "tools/posture/kinds.h"

namespace hallmark::posture {
namespace {

using dkim::Algorithm;
using dkim::EqualsIgnoringCase;
using dkim::PublicKey;
using dkim::Tag;
using dkim::TagList;

constexpr unsigned kLeastBits = 1024, kGoodBits = 2048;  // RFC 8301 section 3.2

// What the record at one selector is compared with.
struct Expected {
  std::string owner;  // sel._domainkey.example.com
  const Selector& selector;
  std::string domain, auid;
  std::optional<PublicKey> key = std::nullopt;  // where it is known
  bool below_dname = false;                     // then there is an alias, and none can be put there

  // The record as it should be, where the key is known; with the alias that leads to it, where there is to be one.
  std::vector<std::string> Publish() const {
    if (!key) return {};
    const std::string value =
        selector.use == KeyUse::kRevoked ? dkim::RevokedKeyRecordValue(*key) : dkim::KeyRecordValue(*key);
    if (selector.kept_at.empty()) return {TxtLine(owner, value)};
    if (below_dname) return {TxtLine(selector.kept_at, value)};
    return {AliasLine(owner, selector.kept_at), TxtLine(selector.kept_at, value)};
  }
};

bool Contains(std::string_view list, std::string_view wanted) {
  const auto entries = dkim::SplitList(list, ':');
  return std::any_of(entries.begin(), entries.end(),
                     [&](std::string_view entry) { return EqualsIgnoringCase(entry, wanted); });
}

// Which kind of finding it is that ParseKeyRecord could not read `text`.
const Kind& KindOfFault(std::string_view text) {
  const auto tags = TagList::Parse(text);
  if (!tags) return kinds::kDkimSyntax;
  if (const Tag* v = tags->Find("v"); v != nullptr && (v->value != "DKIM1" || tags->tags().front().name != "v"))
    return kinds::kDkimVersion;
  if (const Tag* k = tags->Find("k");
      k != nullptr && !EqualsIgnoringCase(k->value, "rsa") && !EqualsIgnoringCase(k->value, "ed25519"))
    return kinds::kDkimKeyType;
  if (const Tag* h = tags->Find("h"); h != nullptr && !Contains(h->value, "sha256")) return kinds::kDkimHash;
  if (const Tag* s = tags->Find("s"); s != nullptr && !Contains(s->value, "email") && !Contains(s->value, "*"))
    return kinds::kDkimService;
  return kinds::kDkimSyntax;
}

void CheckFlags(const dkim::KeyRecord& record, const Expected& expected, Report& report) {
  if (record.testing) report.Add(kinds::kDkimTesting, expected.owner, "t=y is set", expected.Publish());
  if (!record.strict_identity || expected.auid.empty()) return;
  // As it will stand in the signature: A-labels, without a final dot.
  const auto auid_domain = dkim::NormalizeDomain(expected.auid.substr(expected.auid.rfind('@') + 1));
  if (auid_domain && *auid_domain != expected.domain)
    report.Add(kinds::kDkimStrictIdentity, expected.owner, "t=s is set, and the signing profile has i=" + expected.auid,
               expected.Publish());
}

// The key within a record that could be read; nullopt when it is none.
std::optional<PublicKey> CheckKey(const dkim::KeyRecord& record, const Expected& expected, Report& report) {
  auto key = PublicKey::FromRecordData(record.algorithm, record.public_data);
  if (key) {
    if (key->algorithm() == Algorithm::kRsaSha256 && key->bits() < kGoodBits)
      report.Add(kinds::kDkimKeyShort, expected.owner, "the RSA key has " + std::to_string(key->bits()) + " bits");
    return std::move(*key);
  }
  if (record.algorithm == Algorithm::kEd25519Sha256) {
    const auto wrapped = PublicKey::FromSpki(record.public_data);
    if (wrapped && wrapped->algorithm() == Algorithm::kEd25519Sha256) {
      report.Add(kinds::kDkimEd25519Form, expected.owner, "p= is a SubjectPublicKeyInfo instead of the raw key",
                 {TxtLine(expected.owner, dkim::KeyRecordValue(*wrapped))});
    } else {
      report.Add(kinds::kDkimEd25519Form, expected.owner,
                 "p= has " + std::to_string(record.public_data.size()) + " octets; expected the 32 of an Ed25519 key",
                 expected.Publish());
    }
    return std::nullopt;
  }
  const auto unchecked = PublicKey::FromRecordedSpki(record.public_data);  // takes keys of any size
  const unsigned bits = unchecked ? unchecked->bits() : 0;
  if (bits > 0 && bits < kLeastBits) {
    report.Add(kinds::kDkimKeyTooShort, expected.owner, "the RSA key has " + std::to_string(bits) + " bits",
               expected.Publish());
  } else {
    report.Add(kinds::kDkimKeyInvalid, expected.owner, "p= holds no RSA key: " + key.error().message,
               expected.Publish());
  }
  return std::nullopt;
}

// The algorithm that the record makes usable; nullopt when it makes none.
std::optional<Algorithm> CheckInUse(const dkim::KeyRecord& record, const Expected& expected, Report& report) {
  if (record.revoked) {
    report.Add(kinds::kDkimRevoked, expected.owner, "p= is empty, though the key is in use", expected.Publish());
    return std::nullopt;
  }
  CheckFlags(record, expected, report);
  const auto key = CheckKey(record, expected, report);
  if (!key) return std::nullopt;
  if (!expected.key || key->Spki() == expected.key->Spki()) return key->algorithm();
  if (key->algorithm() != expected.key->algorithm()) {
    report.Add(kinds::kDkimKeyType, expected.owner, "the record's k= is not the type of the key in the HSM",
               expected.Publish());
  } else {
    report.Add(kinds::kDkimKeyMismatch, expected.owner, "the record's key is not the one in the HSM",
               expected.Publish());
  }
  return std::nullopt;
}

void CheckNone(const Expected& expected, Report& report) {
  const std::string what = "there is no key record at " + expected.owner;
  switch (expected.selector.use) {
    case KeyUse::kNamed:
    case KeyUse::kActive: report.Add(kinds::kDkimRecordMissing, expected.owner, what, expected.Publish()); break;
    case KeyUse::kUpcoming: report.Add(kinds::kDkimRecordPending, expected.owner, what, expected.Publish()); break;
    case KeyUse::kRetiring: report.Add(kinds::kDkimRecordGoneEarly, expected.owner, what, expected.Publish()); break;
    case KeyUse::kRevoked:
    case KeyUse::kWithdrawn: break;
  }
}

// Nothing is to be there: no record, and no alias that led to one. That of a DNAME is not the key's.
void CheckWithdrawn(const Expected& expected, Dns& dns, Report& report) {
  const auto answer = dns.Find(expected.owner, dns::RecordType::kTxt);
  if (answer && (!answer->values.empty() || (!answer->alias.empty() && !answer->by_dname)))
    report.Add(kinds::kDkimRecordLeftOver, expected.owner, "the key was withdrawn, and there still is a record");
}

// Whether the name is an alias that leads to nowhere, and may: it is put in before the record, and goes after it.
bool MayLeadNowhere(const Expected& expected, Dns& dns) {
  const KeyUse use = expected.selector.use;
  if (use != KeyUse::kUpcoming && use != KeyUse::kRevoked) return false;
  const auto answer = dns.Find(expected.owner, dns::RecordType::kTxt);
  return answer && !answer->exists && !answer->alias.empty() && !answer->by_dname;
}

std::optional<Algorithm> CheckSelector(Expected& expected, Dns& dns, Report& report) {
  const KeyUse use = expected.selector.use;
  if (use == KeyUse::kWithdrawn) {
    CheckWithdrawn(expected, dns, report);
    return std::nullopt;
  }
  if (MayLeadNowhere(expected, dns)) {
    CheckNone(expected, report);
    return std::nullopt;
  }
  // Whatever stands at a selector is taken for a key record: v= may be left out.
  const Fetched fetched = dns.FetchTxt(expected.owner, [](std::string_view) { return true; });
  expected.below_dname = fetched.below_dname;
  if (fetched.state == Fetched::State::kUnavailable || fetched.aliased_nowhere) return std::nullopt;
  if (fetched.state == Fetched::State::kNone) {
    CheckNone(expected, report);
    return std::nullopt;
  }
  if (fetched.state == Fetched::State::kSeveral) {
    report.Add(kinds::kDkimSeveralRecords, expected.owner,
               "there are " + std::to_string(fetched.records.size()) + " TXT records at " + expected.owner,
               expected.Publish());
    return std::nullopt;
  }
  const auto record = dkim::ParseKeyRecord(fetched.records.front());
  if (use == KeyUse::kRevoked) {
    if (record && !record->revoked)
      report.Add(kinds::kDkimRevokedKeyPublished, expected.owner,
                 "the key was revoked, and its record has a p=", expected.Publish());
    return std::nullopt;
  }
  if (!record) {
    report.Add(KindOfFault(fetched.records.front()), expected.owner, record.error().message, expected.Publish());
    return std::nullopt;
  }
  return CheckInUse(*record, expected, report);
}

}  // namespace

std::string SelectorName(const std::string& selector, const std::string& domain) {
  return selector + "._domainkey." + domain;
}

void CheckDkim(const std::string& domain, const std::vector<Selector>& selectors, const std::string& auid, Dns& dns,
               Report& report) {
  bool ed25519 = false, rsa = false;
  for (const Selector& selector : selectors) {
    Expected expected{SelectorName(selector.name, domain), selector, domain, auid};
    if (!selector.spki.empty()) {
      if (auto key = PublicKey::FromSpki(selector.spki)) expected.key = std::move(*key);
    }
    const auto algorithm = CheckSelector(expected, dns, report);
    const bool in_use = selector.use == KeyUse::kActive || selector.use == KeyUse::kNamed;
    if (!in_use || !algorithm) continue;
    (*algorithm == Algorithm::kEd25519Sha256 ? ed25519 : rsa) = true;
  }
  if (ed25519 && !rsa)
    report.Add(kinds::kDkimOnlyEd25519, domain, "the only key that verifies is Ed25519; add an RSA key");
}

}  // namespace hallmark::posture
