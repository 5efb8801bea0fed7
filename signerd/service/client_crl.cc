#include "signerd/service/client_crl.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>

#include "firmware/runtime/file.h"

namespace hallmark::service {
namespace {

constexpr std::size_t kMostOctets = 64u << 20;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Crl = std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)>;

Error Invalid(const std::string& what) {
  ERR_clear_error();
  return MakeError(Reason::kConfigInvalid, what);
}

Status CheckSignature(X509_CRL& crl, const std::vector<X509Ptr>& authorities) {
  bool named = false;
  for (const X509Ptr& authority : authorities) {
    if (X509_NAME_cmp(X509_get_subject_name(authority.get()), X509_CRL_get_issuer(&crl)) != 0) continue;
    named = true;
    if (X509_CRL_verify(&crl, X509_get0_pubkey(authority.get())) == 1) return Ok();
  }
  return Invalid(named ? "the signature is not that of the client CA" : "the issuer is no client CA of this listener");
}

void Add(X509_CRL& crl, IssuerList& list) {
  const auto this_update = ReadAsn1Time(X509_CRL_get0_lastUpdate(&crl));
  if (this_update >= list.this_update) {
    list.this_update = this_update;
    list.next_update = ReadAsn1Time(X509_CRL_get0_nextUpdate(&crl));
  }
  STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(&crl);
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    list.revoked.insert(SerialText(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i))));
  }
}

std::string NameText(const X509_NAME* name) {
  const Bio bio(BIO_new(BIO_s_mem()), &BIO_free);
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

bool Names(const RevocationLists& lists, const CertificateName& certificate) {
  const auto list = lists.find(certificate.issuer);
  return list != lists.end() && list->second->revoked.contains(certificate.serial);
}

bool IsSameCa(const X509& a, const X509& b) {
  return X509_NAME_cmp(X509_get_subject_name(&a), X509_get_subject_name(&b)) == 0 &&
         EVP_PKEY_eq(X509_get0_pubkey(&a), X509_get0_pubkey(&b)) == 1;
}

// Those of `authorities` that are revoked, or below one that is. What is in `client_ca` and is not can stand for
// another certificate of the same CA.
Authorities FindRevoked(const RevocationLists& lists, const std::vector<X509Ptr>& authorities,
                        std::string_view client_ca) {
  const std::vector<X509Ptr> present = ReadCertificates(client_ca);
  Authorities revoked;
  const auto is_revoked = [&](const X509Ptr& one) {
    const CertificateName name = CertificateNameOf(*one);
    return Names(lists, name) || revoked.contains(name.issuer);
  };
  std::size_t before = 0;
  do {
    before = revoked.size();
    for (const X509Ptr& one : authorities) {
      if (!is_revoked(one)) continue;
      const bool stands = std::any_of(present.begin(), present.end(), [&](const X509Ptr& other) {
        return IsSameCa(*one, *other) && !is_revoked(other);
      });
      if (!stands) revoked.insert(CopyName(X509_get_subject_name(one.get())));
    }
  } while (revoked.size() != before);
  return revoked;
}

// What is in force when `next` was read while `now` was: of each client CA the list that counts, and of those that were
// one their last list, for it may be put back. `problem` gets what is wrong with those of `next` that do not.
RevocationLists InForce(const RevocationLists& now, const RevocationLists& next, std::string_view client_ca,
                        std::chrono::sys_seconds time, std::string& problem) {
  RevocationLists lists = now;
  Authorities seen;
  for (const X509Ptr& authority : ReadCertificates(client_ca)) {
    const X509_NAME* issuer = X509_get_subject_name(authority.get());
    const auto before = now.find(issuer), after = next.find(issuer);
    if (!seen.insert(CopyName(issuer)).second || (before == now.end() && after == next.end())) continue;
    std::string wrong;
    if (after == next.end()) {
      wrong = "has no list of " + NameText(issuer) + " any more; the last one stays";
    } else if (before != now.end() && after->second->this_update < before->second->this_update) {
      wrong = "the list of " + NameText(issuer) + " is older than the one in force";
    } else if (after->second->next_update < time) {
      wrong = "the list of " + NameText(issuer) + " has expired; give a newer one";
    }
    if (!wrong.empty()) problem += (problem.empty() ? "" : "; ") + wrong;
    if (wrong.empty() || before == now.end()) lists.insert_or_assign(after->first, after->second);
  }
  return lists;
}

}  // namespace

Result<RevocationLists> ReadRevocationLists(std::string_view pem, std::string_view client_ca) {
  const std::vector<X509Ptr> authorities = ReadCertificates(client_ca);
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  std::map<X509NamePtr, std::shared_ptr<IssuerList>, NameOrder> lists;
  for (int count = 0;; ++count) {
    const Crl crl(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr), &X509_CRL_free);
    if (crl == nullptr) {
      // A text that ends is the only good reason: a damaged list behind a good one must not go unnoticed.
      const bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
      if (count == 0 || !ended) return Invalid("not a PEM certificate revocation list");
      ERR_clear_error();
      return RevocationLists(lists.begin(), lists.end());
    }
    if (X509_CRL_get_ext_by_critical(crl.get(), 1, -1) >= 0) {
      return Invalid("a list with a critical extension (a delta or indirect list); give a complete one");
    }
    const Status signature = CheckSignature(*crl, authorities);
    if (!signature) return signature.error();
    if (X509_CRL_get0_nextUpdate(crl.get()) == nullptr) return Invalid("a list without nextUpdate");
    auto& list = lists[CopyName(X509_CRL_get_issuer(crl.get()))];
    if (list == nullptr) list = std::make_shared<IssuerList>();
    Add(*crl, *list);
  }
}

void ClientCrl::Parse(const std::string& client_ca) {
  auto pem = ReadFile(file_, kMostOctets);
  if (!pem) {
    parsed_ = nullptr;
    problem_ = pem.error().message;
    pem_.clear();
    return;
  }
  if (!pem->empty() && *pem == pem_ && client_ca == client_ca_) return;
  pem_ = std::move(*pem);
  client_ca_ = client_ca;
  auto lists = ReadRevocationLists(pem_, client_ca_);
  parsed_ = lists ? std::make_shared<const RevocationLists>(std::move(*lists)) : nullptr;
  problem_ = lists ? "" : file_.string() + ": " + lists.error().message;
}

void ClientCrl::Remember(const std::string& client_ca) {
  if (client_ca == remembered_) return;
  for (X509Ptr& one : ReadCertificates(client_ca)) {
    const bool known = std::any_of(authorities_.begin(), authorities_.end(),
                                   [&](const X509Ptr& other) { return X509_cmp(one.get(), other.get()) == 0; });
    if (!known) authorities_.push_back(std::move(one));
  }
  remembered_ = client_ca;
}

void ClientCrl::Refresh(const std::string& client_ca, std::chrono::sys_seconds now) {
  if (file_.empty()) return;
  Remember(client_ca);
  Parse(client_ca);
  State next{state_.load()->lists, problem_, {}, {}, {}};
  if (parsed_ != nullptr) {
    std::string problem;
    auto lists = InForce(next.lists == nullptr ? RevocationLists() : *next.lists, *parsed_, client_ca, now, problem);
    next.lists = std::make_shared<const RevocationLists>(std::move(lists));
    if (!problem.empty()) next.problem = file_.string() + ": " + problem;
  }
  if (next.lists != nullptr) next.revoked = FindRevoked(*next.lists, authorities_, client_ca);
  for (const X509Ptr& one : ReadCertificates(client_ca)) {
    Authority authority = AuthorityOf(*one);
    next.trusted.insert(authority.subject);
    const bool revoked =
        next.lists != nullptr && (Names(*next.lists, authority.name) || next.revoked.contains(authority.name.issuer));
    if (!revoked) next.standing[authority.subject].insert(std::move(authority.key));
  }
  state_.store(std::make_shared<const State>(std::move(next)));
}

bool ClientCrl::State::Stands(const Authority& authority) const {
  const auto keys = standing.find(authority.subject);
  return keys != standing.end() && keys->second.contains(authority.key);
}

bool ClientCrl::Revokes(const Authority& authority) const {
  return !file_.empty() && Revokes(authority.name) && !state_.load()->Stands(authority);
}

bool ClientCrl::Revokes(const CertificateName& certificate) const {
  if (file_.empty()) return false;
  const auto state = state_.load();
  return state->lists != nullptr && (state->revoked.contains(certificate.issuer) || Names(*state->lists, certificate));
}

}  // namespace hallmark::service
