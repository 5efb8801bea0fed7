#include "signerd/keys/records.h"

#include <algorithm>

#include "firmware/runtime/printable.h"
#include "signerd/dkim/key_record.h"

namespace hallmark::keys {
namespace {

constexpr std::size_t kShown = 60;  // octets of a foreign record in a sentence

std::string Shown(const std::vector<std::string>& values) {
  if (values.size() > 1) return std::to_string(values.size()) + " TXT records";
  if (values.empty()) return "no TXT record";
  return "\"" + Printable(values.front(), kShown) + "\"";
}

}  // namespace

bool IsRecordOf(const std::string& value, const dkim::PublicKey& key) {
  const auto record = dkim::ParseKeyRecord(value);
  return record && !record->revoked && record->algorithm == key.algorithm() && record->public_data == key.RecordData();
}

bool IsRevokedRecord(const std::string& value) {
  const auto record = dkim::ParseKeyRecord(value);
  return record && record->revoked;
}

bool SaysRevoked(const RecordView& view) {
  return std::any_of(view.servers.begin(), view.servers.end(), [](const ServerView& server) {
    return std::any_of(server.values.begin(), server.values.end(), &IsRevokedRecord);
  });
}

Result<dkim::PublicKey> PublishedKey(const std::string& value) {
  const auto record = dkim::ParseKeyRecord(value);
  if (!record) return record.error();
  return dkim::PublicKey::FromRecordData(record->algorithm, record->public_data);
}

std::string_view Says(const ServerView& server, const dkim::PublicKey& key, Expected expected) {
  switch (server.kind) {
    case ServerView::Kind::kSilent: return "silent";
    case ServerView::Kind::kBogus: return "bogus";
    case ServerView::Kind::kNone: return expected == Expected::kNothing ? "expected" : "absent";
    case ServerView::Kind::kRecords: break;
  }
  // Several records at one selector: which one a verifier takes is not defined (RFC 6376 section 3.6.2.2).
  const bool as_expected =
      server.values.size() == 1 && ((expected == Expected::kKey && IsRecordOf(server.values.front(), key)) ||
                                    (expected == Expected::kRevoked && IsRevokedRecord(server.values.front())));
  return as_expected ? "expected" : "other";
}

Verdict Judge(const RecordView& view, const dkim::PublicKey& key, Expected expected) {
  Verdict verdict;
  for (const ServerView& server : view.servers) {
    const std::string_view says = Says(server, key, expected);
    if (says == "expected") continue;
    if (says != "silent") verdict.contradicted = true;
    if (!verdict.problem.empty()) continue;
    verdict.problem = server.server + " ";
    if (says == "absent") {
      verdict.problem += "does not have it" + (server.detail.empty() ? "" : ": " + server.detail);
    } else if (says == "other") {
      verdict.problem += "has " + Shown(server.values);
    } else {
      verdict.problem +=
          (says == "silent" ? "gives no answer: " : "gives an answer that does not validate: ") + server.detail;
    }
  }
  if (view.servers.empty()) verdict.problem = "no authoritative server is known";
  verdict.everywhere = verdict.problem.empty();
  return verdict;
}

std::string RecordName(const snapshot::Key& key) { return key.selector + "._domainkey." + key.domain; }

std::string PublishedName(const snapshot::Key& key, const store::RotationPolicy& policy) {
  if (policy.delegation.empty()) return RecordName(key);
  return key.selector + "." + key.domain + "." + policy.delegation;
}

std::vector<std::string> OwnValues(const dkim::PublicKey& key) {
  return {dkim::KeyRecordValue(key), dkim::RevokedKeyRecordValue(key)};
}

}  // namespace hallmark::keys
