#include "signerd/service/peer.h"

#include <grpc/grpc_security_constants.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <ctime>

#include "firmware/runtime/encoding.h"
#include "signerd/service/identity.h"

namespace hallmark::service {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

std::string_view PropertyOf(const grpc::AuthContext& peer, const char* name) {
  const auto found = peer.FindPropertyValues(name);
  return found.empty() ? std::string_view() : std::string_view(found.front().data(), found.front().size());
}

bool IsResumed(const grpc::AuthContext& peer) { return PropertyOf(peer, GRPC_SSL_SESSION_REUSED_PROPERTY) == "true"; }

std::string SubjectText(const X509& certificate) {
  const Bio bio(BIO_new(BIO_s_mem()), &BIO_free);
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(&certificate), 0, XN_FLAG_RFC2253);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace

std::vector<X509Ptr> ReadCertificates(std::string_view pem) {
  std::vector<X509Ptr> certificates;
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  while (true) {
    X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate == nullptr) break;
    certificates.push_back(std::move(certificate));
  }
  ERR_clear_error();
  return certificates;
}

X509NamePtr CopyName(const X509_NAME* name) { return {X509_NAME_dup(name), &X509_NAME_free}; }

std::string SerialText(const ASN1_INTEGER* serial) {
  std::string text(1, ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER ? '-' : '+');
  text.append(reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
              static_cast<std::size_t>(ASN1_STRING_length(serial)));
  return text;
}

std::chrono::sys_seconds ReadAsn1Time(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return std::chrono::sys_seconds(std::chrono::seconds(::timegm(&parts)));
}

CertificateName CertificateNameOf(const X509& certificate) {
  return {CopyName(X509_get_issuer_name(&certificate)), SerialText(X509_get0_serialNumber(&certificate))};
}

Authority AuthorityOf(const X509& certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  X509_pubkey_digest(&certificate, EVP_sha256(), digest, &size);
  return {CertificateNameOf(certificate), CopyName(X509_get_subject_name(&certificate)),
          std::string(reinterpret_cast<const char*>(digest), size)};
}

CertificateFacts FactsOf(const X509& certificate) {
  CertificateFacts facts;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  X509_digest(&certificate, EVP_sha256(), digest, &size);
  facts.fingerprint = HexEncode(ByteView(digest, size));
  facts.name = CertificateNameOf(certificate);
  facts.subject = SubjectText(certificate);
  facts.not_after = ReadAsn1Time(X509_get0_notAfter(&certificate));
  return facts;
}

// Null where this connection tells more than is known already.
PeerCertificates::Facts PeerCertificates::Find(const Known& known, const grpc::AuthContext& peer) {
  const auto entry = known.find(PropertyOf(peer, GRPC_X509_PEM_CERT_PROPERTY_NAME));
  if (entry == known.end()) return nullptr;
  if (IsResumed(peer)) return entry->second.back();
  const std::string_view sent = PropertyOf(peer, GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME);
  const auto found = std::find_if(entry->second.begin(), entry->second.end(),
                                  [&](const Facts& facts) { return !facts->sent_unknown && facts->sent_pem == sent; });
  return found == entry->second.end() ? nullptr : *found;
}

PeerCertificates::Facts PeerCertificates::Of(const grpc::AuthContext& peer) {
  const std::string_view pem = PropertyOf(peer, GRPC_X509_PEM_CERT_PROPERTY_NAME);
  const std::string_view sent = PropertyOf(peer, GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME);
  const auto before = known_.load();
  if (Facts facts = Find(*before, peer)) return facts;
  const auto lists = before->find(pem);
  if (sent.size() > kMostSent || (lists != before->end() && lists->second.size() >= kMostLists)) return nullptr;
  const std::vector<X509Ptr> parsed = ReadCertificates(pem);
  if (parsed.empty()) return nullptr;
  CertificateFacts facts = FactsOf(*parsed.front());
  facts.identities = PeerIdentities(peer);
  for (const X509Ptr& authority : ReadCertificates(sent)) facts.sent.push_back(AuthorityOf(*authority));
  facts.sent_pem = sent;
  facts.sent_unknown = IsResumed(peer);
  const Facts shared = std::make_shared<const CertificateFacts>(std::move(facts));
  const std::lock_guard lock(mutex_);
  const auto known = known_.load();
  if (Facts meanwhile = Find(*known, peer)) return meanwhile;
  auto next = known->size() < kMost ? std::make_shared<Known>(*known) : std::make_shared<Known>();
  (*next)[std::string(pem)].push_back(shared);
  known_.store(std::move(next));
  return shared;
}

std::vector<PeerCertificates::Facts> PeerCertificates::Seen() const {
  std::vector<Facts> seen;
  const auto known = known_.load();
  for (const auto& [pem, facts] : *known) seen.push_back(facts.back());
  return seen;
}

std::vector<PeerCertificates::Facts> PeerCertificates::With(std::string_view fingerprint) const {
  std::vector<Facts> found;
  const auto known = known_.load();
  for (const auto& [pem, facts] : *known) {
    if (facts.front()->fingerprint == fingerprint) found.insert(found.end(), facts.begin(), facts.end());
  }
  return found;
}

}  // namespace hallmark::service
