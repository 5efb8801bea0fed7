#pragma once

#include <grpcpp/security/auth_context.h>
#include <openssl/x509.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hallmark::service {

struct FreeX509 {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using X509Ptr = std::unique_ptr<X509, FreeX509>;
// A name that is never changed: OpenSSL compares those from several threads at once.
using X509NamePtr = std::shared_ptr<const X509_NAME>;

// What a CRL names a certificate by.
struct CertificateName {
  X509NamePtr issuer;
  std::string serial;  // as SerialText() gives it
};

// A CA by one of its certificates.
struct Authority {
  CertificateName name;
  X509NamePtr subject;
  std::string key;  // SHA-256 of its public part
};

// What is known of a certificate.
struct CertificateFacts {
  std::string fingerprint;  // SHA-256 of the DER form, lower-case hexadecimal
  CertificateName name;
  std::string subject;  // for a person, as RFC 2253 writes it
  std::chrono::sys_seconds not_after;
  // Only of a peer: its SANs, as PeerIdentities() gives them; the certificates of CAs that it sent beside its own; and
  // whether these are not known, because it resumed a TLS session, which keeps its own certificate alone.
  std::vector<std::string> identities;
  std::vector<Authority> sent;
  std::string sent_pem;
  bool sent_unknown = false;
};

// Every certificate of a PEM text, in its order; empty when there is none. Any thread.
std::vector<X509Ptr> ReadCertificates(std::string_view pem);
CertificateFacts FactsOf(const X509& certificate);
CertificateName CertificateNameOf(const X509& certificate);
Authority AuthorityOf(const X509& certificate);
X509NamePtr CopyName(const X509_NAME* name);
// A serial number's sign and octets.
std::string SerialText(const ASN1_INTEGER* serial);
std::chrono::sys_seconds ReadAsn1Time(const ASN1_TIME* time);

// The certificates that callers of one listener have shown since the start, each parsed once with each list of CAs that
// was sent beside it. At most kMost certificates are kept: then all are forgotten, and those still in use come back
// with their next call. Any thread.
class PeerCertificates {
 public:
  static constexpr std::size_t kMost = 4096;
  static constexpr std::size_t kMostSent = 16u << 10;  // octets of PEM; as much as ten certificates or so
  static constexpr std::size_t kMostLists = 32;        // that a certificate can have been sent with
  using Facts = std::shared_ptr<const CertificateFacts>;

  // Null when the peer showed none that parses, or sent more than kMostSent beside it, or one list more than
  // kMostLists: to read each anew with each call would cost the processor. Takes the lock for what is new only. Of a
  // TLS session that was resumed, what was sent is taken to be the list that was new last with the certificate.
  Facts Of(const grpc::AuthContext& peer);
  // Each certificate once, with the list that was new last: not always that of its newest handshake.
  std::vector<Facts> Seen() const;
  // One certificate, by its fingerprint, with each of its lists.
  std::vector<Facts> With(std::string_view fingerprint) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Known = std::unordered_map<std::string, std::vector<Facts>, Hash, std::equal_to<>>;  // by PEM; oldest first
  static Facts Find(const Known& known, const grpc::AuthContext& peer);

  std::mutex mutex_;  // held by whoever replaces known_
  std::atomic<std::shared_ptr<const Known>> known_{std::make_shared<const Known>()};
};

}  // namespace hallmark::service
