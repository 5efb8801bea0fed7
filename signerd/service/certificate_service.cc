#include "signerd/service/certificate_service.h"

#include <openssl/x509v3.h>

#include <algorithm>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/time_text.h"
#include "signerd/service/free_text.h"
#include "signerd/service/replay.h"

namespace hallmark::service {
namespace {

namespace api = hallmark::admin::v1;

constexpr std::size_t kSha256Octets = 32;

Result<std::string> ReadFingerprint(std::string text) {
  std::erase(text, ':');
  const auto octets = HexDecode(text);
  if (!octets || octets->size() != kSha256Octets) {
    return MakeError(Reason::kInvalidArgument, "fingerprint: expected a SHA-256 as 64 hexadecimal digits");
  }
  return HexEncode(*octets);
}

// What is to be revoked. Of one that is named by its fingerprint it is not known whether it says that it is a CA's.
struct Named {
  std::string fingerprint;
  bool is_ca = false;
};

Result<Named> NamedBy(const api::RevokeCertificateRequest& request) {
  if (request.has_fingerprint()) {
    auto fingerprint = ReadFingerprint(request.fingerprint());
    if (!fingerprint) return fingerprint.error();
    return Named{std::move(*fingerprint)};
  }
  const auto certificates = ReadCertificates(request.pem());
  // A chain names its CAs too; which of them is meant is not ours to guess.
  if (certificates.size() != 1) {
    return MakeError(Reason::kInvalidArgument,
                     "pem: expected one PEM certificate, found " + std::to_string(certificates.size()));
  }
  return Named{FactsOf(*certificates.front()).fingerprint, X509_check_ca(certificates.front().get()) == 1};
}

// A fingerprint refuses the one client that shows that certificate. Of a CA it would refuse nobody below it, and
// whoever revoked it would think that all are.
Status CheckIsNoCa(const Named& named, const std::vector<Transport*>& transports) {
  std::string trusted_by;
  for (const Transport* transport : transports) {
    if (transport->HasShown(named.fingerprint)) return Ok();
    if (transport->IsClientCa(named.fingerprint)) trusted_by = " that client_ca of [" + transport->name() + "] has";
  }
  if (!named.is_ca && trusted_by.empty()) return Ok();
  return MakeError(Reason::kInvalidArgument,
                   "the certificate is a CA's" + trusted_by +
                       ": revoked by its fingerprint, it would refuse nobody below it. Take it out of client_ca, or "
                       "have a revocation list (client_crl) name it: that of the CA above it, or its own where it is "
                       "self-signed");
}

void SetTime(google::protobuf::Timestamp& time, std::chrono::sys_seconds value) {
  time.set_seconds(value.time_since_epoch().count());
}

void Fill(const store::RevokedCertificate& row, api::RevokedCertificate& entry) {
  entry.set_fingerprint(row.fingerprint);
  entry.set_reason(row.reason);
  entry.set_revoked_by(row.revoked_by);
  SetTime(*entry.mutable_revoke_time(), row.time);
}

// What a second person agrees to. It names the one revocation that it is about: a certificate that was let in and
// revoked once more since then needs another word.
std::string DangerOf(const std::string& fingerprint, const std::vector<store::RevokedCertificate>& revoked) {
  std::string danger = "lets the revoked certificate " + fingerprint + " in again";
  const auto row = std::find_if(revoked.begin(), revoked.end(),
                                [&](const store::RevokedCertificate& one) { return one.fingerprint == fingerprint; });
  if (row == revoked.end()) return danger;
  danger += ", which " + row->revoked_by + " revoked at " + TimeText(row->time);
  return row->reason.empty() ? danger : danger + ": " + row->reason;
}

}  // namespace

CertificateService::CertificateService(const Parts& parts) : parts_(parts) {
  SetReplayOf<api::UnrevokeCertificateRequest, api::UnrevokeCertificateResponse>(
      parts_.gate, "UnrevokeCertificate",
      [this](const Caller& caller, const auto& request, auto*) { return Unrevoke(caller, request); });
}

Status CertificateService::Revoke(const Caller& caller, const api::RevokeCertificateRequest& request,
                                  api::RevokedCertificate& response) {
  const auto named = NamedBy(request);
  if (!named) return named.error();
  const Status is_no_ca = CheckIsNoCa(*named, parts_.watch.transports());
  if (!is_no_ca) return is_no_ca;
  const Status is_text = CheckReasonText(request.reason());
  if (!is_text) return is_text;
  const store::RevokedCertificate row{named->fingerprint, request.reason(), caller.name, parts_.clock.Now()};
  const Status recorded = parts_.store.InsertRevokedCertificate(row);
  if (!recorded && recorded.error().reason != Reason::kAlreadyExists) return recorded;
  // It may have been recorded before and not be in force, where publishing failed then.
  const Status published = parts_.publish();
  if (!published) return published;
  if (recorded) Fill(row, response);
  return recorded;
}

Status CertificateService::Unrevoke(const Caller& caller, const api::UnrevokeCertificateRequest& request) {
  const auto fingerprint = ReadFingerprint(request.fingerprint());
  if (!fingerprint) return fingerprint.error();
  if (!parts_.snapshot.Get()->revoked_certificates.contains(*fingerprint)) {
    return MakeError(Reason::kNotFound, "the certificate " + *fingerprint + " is not revoked by fingerprint");
  }
  const auto revoked = parts_.store.ListRevokedCertificates();
  if (!revoked) return revoked.error();
  const Status may = parts_.gate.RequireApproval(caller, DangerOf(*fingerprint, *revoked));
  if (!may) return may;
  const Status removed = parts_.store.DeleteRevokedCertificate(*fingerprint);
  // It is in force, so where it is not recorded that was deleted before, and publishing failed then.
  if (!removed && removed.error().reason != Reason::kNotFound) return removed;
  return parts_.publish();
}

void CertificateService::List(api::ListCertificatesResponse& response) {
  const auto view = parts_.snapshot.Get();
  for (const Expiry& expiry : parts_.watch.Expiries()) {
    api::Certificate& entry = *response.add_certificates();
    entry.set_name(expiry.name);
    SetTime(*entry.mutable_expire_time(), expiry.not_after);
    entry.set_fingerprint(expiry.fingerprint);
    entry.set_revoked(expiry.revoked || view->revoked_certificates.contains(expiry.fingerprint));
  }
  for (const Transport* transport : parts_.watch.transports()) {
    api::CertificateFiles& entry = *response.add_files();
    entry.set_listener(transport->name());
    entry.set_problem(transport->problem());
    entry.set_has_crl(!transport->crl().file().empty());
    const auto crl = transport->crl().state();
    entry.set_crl_problem(crl->problem);
    if (crl->lists == nullptr) continue;
    auto next_update = std::chrono::sys_seconds::max();
    std::size_t entries = 0;
    for (const auto& [issuer, list] : *crl->lists) {
      if (!crl->trusted.contains(issuer)) continue;  // kept for a CA that may come back
      next_update = std::min(next_update, list->next_update);
      entries += list->revoked.size();
    }
    if (next_update != std::chrono::sys_seconds::max()) SetTime(*entry.mutable_crl_next_update(), next_update);
    entry.set_crl_entries(static_cast<std::int64_t>(entries));
  }
}

CertificateService::Reactor* CertificateService::RevokeCertificate(Context* context,
                                                                   const api::RevokeCertificateRequest* request,
                                                                   api::RevokedCertificate* response) {
  return parts_.gate.Run(context, {"RevokeCertificate", Role::kOperator}, *request,
                         [=, this](const Caller& caller) { return Revoke(caller, *request, *response); });
}

CertificateService::Reactor* CertificateService::ListRevokedCertificates(
    Context* context, const api::ListRevokedCertificatesRequest* request,
    api::ListRevokedCertificatesResponse* response) {
  return parts_.gate.Run(context, {"ListRevokedCertificates", Role::kAuditor}, *request,
                         [=, this](const Caller&) -> Status {
                           const auto rows = parts_.store.ListRevokedCertificates();
                           if (!rows) return rows.error();
                           for (const auto& row : *rows) Fill(row, *response->add_certificates());
                           return Ok();
                         });
}

CertificateService::Reactor* CertificateService::UnrevokeCertificate(Context* context,
                                                                     const api::UnrevokeCertificateRequest* request,
                                                                     api::UnrevokeCertificateResponse*) {
  return parts_.gate.Run(context, {"UnrevokeCertificate", Role::kOfficer}, *request,
                         [=, this](const Caller& caller) { return Unrevoke(caller, *request); });
}

CertificateService::Reactor* CertificateService::ListCertificates(Context* context,
                                                                  const api::ListCertificatesRequest* request,
                                                                  api::ListCertificatesResponse* response) {
  return parts_.gate.Run(context, {"ListCertificates", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    List(*response);
    return Ok();
  });
}

}  // namespace hallmark::service
