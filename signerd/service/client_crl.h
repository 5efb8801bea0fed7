#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/service/peer.h"

namespace hallmark::service {

// What the CRLs of one issuer say together.
struct IssuerList {
  std::unordered_set<std::string> revoked;            // by SerialText()
  std::chrono::sys_seconds this_update, next_update;  // the newest one's
};

// As certificates are matched (RFC 5280 section 7.1): neither case, spaces nor the kind of string make another name.
// After a CA's renewal its name is often encoded otherwise than in the certificates from before.
struct NameOrder {
  using is_transparent = void;
  bool operator()(const X509NamePtr& a, const X509NamePtr& b) const { return X509_NAME_cmp(a.get(), b.get()) < 0; }
  bool operator()(const X509NamePtr& a, const X509_NAME* b) const { return X509_NAME_cmp(a.get(), b) < 0; }
  bool operator()(const X509_NAME* a, const X509NamePtr& b) const { return X509_NAME_cmp(a, b.get()) < 0; }
};
using RevocationLists = std::map<X509NamePtr, std::shared_ptr<const IssuerList>, NameOrder>;  // by issuer
using Authorities = std::set<X509NamePtr, NameOrder>;

// Every CRL of a PEM text. Each must be whole (no delta, no critical extension), and signed by one of the certificates
// of `client_ca` (PEM), which must be its issuer. kConfigInvalid says what is wrong. Whether they have expired is the
// caller's to look at. Any thread.
Result<RevocationLists> ReadRevocationLists(std::string_view pem, std::string_view client_ca);
// Whether a listener could start with these two files. kConfigInvalid, or as ReadFile has it. Any thread.
Status CheckRevocationLists(const std::filesystem::path& file, const std::filesystem::path& client_ca);

// The CRL file of one listener. A file that is missing, unreadable or foreign changes nothing. Each issuer's list is
// judged by itself: one that has expired, is older than the one in force or is not there any more does not replace it.
// Lists in force that expire stay in force: what they revoke is not forgiven because a newer list is late, or an old
// one was put back, or because their CA left `client_ca` for a while.
//
// A CA that is revoked is so with all that is below it. It is known by its name, which is all that a certificate says
// of the CA above it, and also after it has left `client_ca`: a connection may be older than that. Where it has several
// certificates for one key, because it was renewed or cross-signed, all of them have to be revoked.
class ClientCrl {
 public:
  // `file` empty: none; then nothing is revoked by it.
  explicit ClientCrl(std::filesystem::path file) : file_(std::move(file)) {}

  struct State {
    std::shared_ptr<const RevocationLists> lists;  // in force; null: none yet
    std::string problem;                           // empty: none
    Authorities revoked;                           // CAs, by those lists
    // The CAs in `client_ca`, with the keys of those of their certificates that are not revoked.
    std::map<X509NamePtr, std::set<std::string>, NameOrder> trusted;

    // Whether it, or its issuer, is revoked.
    bool Revokes(const CertificateName& certificate) const;
    // Whether the CA is, or one above it, and not just this certificate of it.
    bool Revokes(const Authority& authority) const;
  };

  // Reads the file and puts its lists in force where they are good. One thread.
  void Refresh(const std::string& client_ca, std::chrono::sys_seconds now);
  // What is in force. Any thread, without waiting.
  std::shared_ptr<const State> state() const { return state_.load(); }
  const std::filesystem::path& file() const { return file_; }

 private:
  void Trust(const std::string& client_ca);
  void Parse();
  const std::filesystem::path file_;
  // Of the last reading; what has not changed is not parsed again.
  std::string pem_, client_ca_, problem_;
  std::shared_ptr<const RevocationLists> parsed_;  // null: see problem_
  std::vector<Authority> present_, known_;         // the CAs in client_ca_, and of every client_ca since the start
  std::atomic<std::shared_ptr<const State>> state_{std::make_shared<const State>()};
};

}  // namespace hallmark::service
