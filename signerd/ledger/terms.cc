#include "signerd/ledger/terms.h"

#include <algorithm>

#include "firmware/runtime/fnv1a.h"

namespace hallmark::ledger {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  return lower;
}

std::string_view BareMessageId(std::string_view id) {
  while (id.starts_with(' ') || id.starts_with('\t')) id.remove_prefix(1);
  while (id.ends_with(' ') || id.ends_with('\t')) id.remove_suffix(1);
  if (id.starts_with('<') && id.ends_with('>')) id = id.substr(1, id.size() - 2);
  return id;
}

// What the hash may confuse is looked at.
Term TermOf(char field, std::string_view value) {
  Term hash = Fnv1a(kFnv1aBasis, field);
  for (const char c : value) hash = Fnv1a(hash, c);
  return hash;
}

Term KindTerm(std::string_view kind) { return TermOf('k', kind); }
Term PartnerTerm(std::string_view name) { return TermOf('p', name); }
Term DomainTerm(std::string_view domain) { return TermOf('d', LowerCase(domain)); }
Term MessageIdTerm(std::string_view id) { return TermOf('m', BareMessageId(id)); }
Term FromTerm(std::string_view address) { return TermOf('f', LowerCase(address)); }
Term RecipientTerm(std::string_view address) { return TermOf('r', NormalizeAddress(address)); }
Term RecipientHashTerm(std::string_view hash) { return TermOf('h', hash); }

std::string_view KindOf(const v1::Record& record) {
  switch (record.what_case()) {
    case v1::Record::kSignature: return "signature";
    case v1::Record::kAdminAct: return "admin_act";
    case v1::Record::kAlert: return "alert";
    case v1::Record::WHAT_NOT_SET: break;
  }
  return "";
}

bool FitsRecipient(const Query& query, const v1::Signature& signature) {
  const std::string wanted = NormalizeAddress(query.recipient);
  const auto& clear = signature.recipients();
  const auto& hashed = signature.recipient_hashes();
  return std::any_of(clear.begin(), clear.end(), [&](const auto& one) { return NormalizeAddress(one) == wanted; }) ||
         (!query.recipient_hash.empty() &&
          std::find(hashed.begin(), hashed.end(), query.recipient_hash) != hashed.end());
}

}  // namespace

std::string NormalizeAddress(std::string_view address) {
  const std::size_t at = address.rfind('@');
  if (at == std::string_view::npos) return std::string(address);
  return std::string(address.substr(0, at)) + LowerCase(address.substr(at));
}

void AppendTerms(const v1::Record& record, std::vector<Term>& terms) {
  terms.push_back(KindTerm(KindOf(record)));
  if (record.has_signature()) {
    const v1::Signature& signature = record.signature();
    terms.push_back(PartnerTerm(signature.partner()));
    terms.push_back(DomainTerm(signature.signing_domain()));
    if (!signature.message_id().empty()) terms.push_back(MessageIdTerm(signature.message_id()));
    if (!signature.from().empty()) terms.push_back(FromTerm(signature.from()));
    for (const std::string& address : signature.recipients()) terms.push_back(RecipientTerm(address));
    for (const std::string& hash : signature.recipient_hashes()) terms.push_back(RecipientHashTerm(hash));
  } else if (record.has_alert()) {
    if (!record.alert().partner().empty()) terms.push_back(PartnerTerm(record.alert().partner()));
    if (!record.alert().signing_domain().empty()) terms.push_back(DomainTerm(record.alert().signing_domain()));
  }
}

std::vector<std::vector<Term>> TermsOf(const Query& query) {
  std::vector<std::vector<Term>> all;
  // The rare ones first: what they leave is little.
  if (!query.message_id.empty()) all.push_back({MessageIdTerm(query.message_id)});
  if (!query.recipient.empty()) {
    all.push_back({RecipientTerm(query.recipient)});
    if (!query.recipient_hash.empty()) all.back().push_back(RecipientHashTerm(query.recipient_hash));
  }
  if (!query.from.empty()) all.push_back({FromTerm(query.from)});
  if (!query.domain.empty()) all.push_back({DomainTerm(query.domain)});
  if (!query.partner.empty()) all.push_back({PartnerTerm(query.partner)});
  if (!query.kind.empty()) all.push_back({KindTerm(query.kind)});
  return all;
}

bool Fits(const Query& query, const v1::Record& record) {
  if (record.time_us() < query.since_us || record.time_us() >= query.until_us) return false;
  if (!query.kind.empty() && KindOf(record) != query.kind) return false;
  const bool of_mail = !query.message_id.empty() || !query.recipient.empty() || !query.from.empty();
  if (!record.has_signature() && of_mail) return false;
  const v1::Signature& signature = record.signature();
  if (!query.partner.empty() &&
      (record.has_alert() ? record.alert().partner() : signature.partner()) != query.partner) {
    return false;
  }
  if (!query.domain.empty() && LowerCase(record.has_alert() ? record.alert().signing_domain()
                                                            : signature.signing_domain()) != LowerCase(query.domain)) {
    return false;
  }
  if (!query.message_id.empty() && BareMessageId(signature.message_id()) != BareMessageId(query.message_id))
    return false;
  if (!query.from.empty() && LowerCase(signature.from()) != LowerCase(query.from)) return false;
  return query.recipient.empty() || FitsRecipient(query, signature);
}

}  // namespace hallmark::ledger
