#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/service/client_crl.h"
#include "signerd/service/expiry.h"
#include "signerd/service/peer.h"
#include "signerd/service/tls_files.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark::service {

// One listener's certificates: its own, its clients', and those that are revoked. Any thread but where it says.
class Transport {
 public:
  // `name`: "signing" or "admin". kConfigInvalid when a file cannot be used, the CRL among them.
  static Result<std::unique_ptr<Transport>> Open(std::string name, const ListenerConfig& config,
                                                 const snapshot::Current& snapshot, const Clock& clock);

  // What the caller's certificate says. kCertificateRevoked when it is revoked, by fingerprint or by the CRL;
  // kCallerUnknown when there is none, or it has expired. For every call: a revocation is in force on open connections
  // too, and so is an expiry. A certificate below a CA that the CRL revokes is revoked.
  Result<PeerCertificates::Facts> Admit(const grpc::AuthContext& peer);
  // The same of a certificate that may not be connected, by the SHA-256 of its DER form. The CRL is asked about what
  // has called since the start only. Where it was shown with several lists of CAs, any that is revoked counts: which of
  // them somebody called with is not known.
  bool IsRevoked(ByteView fingerprint) const;

  // By fingerprint, as CertificateFacts has it: whether `client_ca` has it and others can be below it, and whether a
  // caller since the start showed it as its own. A client's own stands in `client_ca` too where no CA issued it.
  bool IsClientCa(std::string_view fingerprint) const;
  bool HasShown(std::string_view fingerprint) const;

  // Takes up changed files, and logs each problem as it comes and goes. The watch's thread only.
  void Refresh();

  // Everything that can expire: the server's certificate, the client CAs, and the clients' seen since the start, of
  // which those that were replaced are left out. A CA is revoked by a CRL alone: by its fingerprint it goes on to let
  // in those below it.
  std::vector<Expiry> Expiries() const;
  // Why the files on disk are not in force; empty: they are.
  std::string problem() const { return *problem_.load(); }
  const ClientCrl& crl() const { return crl_; }
  const ListenerConfig& config() const { return config_; }
  const std::string& name() const { return name_; }
  std::shared_ptr<grpc::ServerCredentials> Credentials() const { return files_->Credentials(); }

 private:
  bool IsRevoked(const CertificateFacts& facts) const;
  Transport(std::string name, const ListenerConfig& config, const snapshot::Current& snapshot, const Clock& clock)
      : name_(std::move(name)), config_(config), snapshot_(snapshot), clock_(clock), crl_(config.client_crl) {}
  const std::string name_;
  const ListenerConfig config_;
  const snapshot::Current& snapshot_;
  const Clock& clock_;
  std::unique_ptr<TlsFiles> files_;
  ClientCrl crl_;
  PeerCertificates peers_;
  std::atomic<std::shared_ptr<const std::string>> problem_{std::make_shared<const std::string>()};
};

// Refreshes the transports once a second, and logs once a day what is about to expire. The transports live longer.
class TransportWatch {
 public:
  TransportWatch(std::vector<Transport*> transports, const Clock& clock);
  std::vector<Expiry> Expiries() const;
  const std::vector<Transport*>& transports() const { return transports_; }

 private:
  void Watch(const std::stop_token& stop);
  const std::vector<Transport*> transports_;
  const Clock& clock_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace hallmark::service
