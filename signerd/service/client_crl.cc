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

bool IsSameCa(const Authority& a, const Authority& b) {
  return X509_NAME_cmp(a.subject.get(), b.subject.get()) == 0 && a.key == b.key;
}

bool IsSame(const Authority& a, const Authority& b) {
  return IsSameCa(a, b) && X509_NAME_cmp(a.name.issuer.get(), b.name.issuer.get()) == 0 &&
         a.name.serial == b.name.serial;
}

// Finds those of `known` that are revoked, or below one that is. What is present and is not can stand for another
// certificate of the same CA.
void FindRevoked(const std::vector<Authority>& known, const std::vector<Authority>& present, ClientCrl::State& state) {
  std::size_t before = 0;
  do {
    before = state.revoked.size();
    for (const Authority& one : known) {
      const bool stands = std::any_of(present.begin(), present.end(), [&](const Authority& other) {
        return IsSameCa(one, other) && !state.Revokes(other.name);
      });
      if (!stands && state.Revokes(one.name)) state.revoked.insert(one.subject);
    }
  } while (state.revoked.size() != before);
  for (const Authority& one : present) {
    std::set<std::string>& keys = state.trusted[one.subject];
    if (!state.Revokes(one.name)) keys.insert(one.key);
  }
}

// What is in force when `next` was read while `now` was: of each client CA the list that counts, and of those that were
// one their last list, for it may be put back. `problem` gets what is wrong with those of `next` that do not.
RevocationLists InForce(const RevocationLists& now, const RevocationLists& next, const std::vector<Authority>& present,
                        std::chrono::sys_seconds time, std::string& problem) {
  RevocationLists lists = now;
  Authorities seen;
  for (const Authority& authority : present) {
    const X509_NAME* issuer = authority.subject.get();
    const auto before = now.find(issuer), after = next.find(issuer);
    if (!seen.insert(authority.subject).second || (before == now.end() && after == next.end())) continue;
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

Status CheckRevocationLists(const std::filesystem::path& file, const std::filesystem::path& client_ca) {
  const auto pem = ReadFile(file, kMostOctets);
  if (!pem) return pem.error();
  const auto authorities = ReadFile(client_ca, kMostOctets);
  if (!authorities) return authorities.error();
  const auto lists = ReadRevocationLists(*pem, *authorities);
  return lists ? Ok() : MakeError(lists.error().reason, file.string() + ": " + lists.error().message);
}

void ClientCrl::Trust(const std::string& client_ca) {
  client_ca_ = client_ca;
  pem_.clear();  // its lists may be of other CAs now
  present_.clear();
  for (const X509Ptr& one : ReadCertificates(client_ca)) {
    present_.push_back(AuthorityOf(*one));
    const Authority& added = present_.back();
    const bool is_known =
        std::any_of(known_.begin(), known_.end(), [&](const Authority& other) { return IsSame(added, other); });
    if (!is_known) known_.push_back(added);
  }
}

void ClientCrl::Parse() {
  auto pem = ReadFile(file_, kMostOctets);
  if (!pem) {
    parsed_ = nullptr;
    problem_ = pem.error().message;
    pem_.clear();
    return;
  }
  if (!pem->empty() && *pem == pem_) return;
  pem_ = std::move(*pem);
  auto lists = ReadRevocationLists(pem_, client_ca_);
  parsed_ = lists ? std::make_shared<const RevocationLists>(std::move(*lists)) : nullptr;
  problem_ = lists ? "" : file_.string() + ": " + lists.error().message;
}

void ClientCrl::Refresh(const std::string& client_ca, std::chrono::sys_seconds now) {
  if (file_.empty()) return;
  if (client_ca != client_ca_) Trust(client_ca);
  Parse();
  State next{state_.load()->lists, problem_, {}, {}};
  if (parsed_ != nullptr) {
    std::string problem;
    auto lists = InForce(next.lists == nullptr ? RevocationLists() : *next.lists, *parsed_, present_, now, problem);
    next.lists = std::make_shared<const RevocationLists>(std::move(lists));
    if (!problem.empty()) next.problem = file_.string() + ": " + problem;
  }
  FindRevoked(known_, present_, next);
  state_.store(std::make_shared<const State>(std::move(next)));
}

bool ClientCrl::State::Revokes(const CertificateName& certificate) const {
  if (lists == nullptr) return false;
  const auto list = lists->find(certificate.issuer);
  return revoked.contains(certificate.issuer) ||
         (list != lists->end() && list->second->revoked.contains(certificate.serial));
}

bool ClientCrl::State::Revokes(const Authority& authority) const {
  if (!Revokes(authority.name)) return false;
  const auto keys = trusted.find(authority.subject);
  return keys == trusted.end() || !keys->second.contains(authority.key);
}

}  // namespace hallmark::service
