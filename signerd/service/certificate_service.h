#pragma once

#include <functional>

#include "firmware/runtime/clock.h"
#include "hallmark/admin/v1/certificates.grpc.pb.h"
#include "signerd/service/admin_gate.h"
#include "signerd/service/transport.h"
#include "signerd/store/store.h"

namespace hallmark::service {

// hallmark.admin.v1.CertificateService: revocation and expiry. Calls come in by the AdminGate.
class CertificateService final : public hallmark::admin::v1::CertificateService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    store::Store& store;
    const snapshot::Current& snapshot;
    const TransportWatch& watch;
    const Clock& clock;
    std::function<Status()> publish;  // makes the store's state the current snapshot
  };
  // Says to the gate how approved requests are carried out.
  explicit CertificateService(const Parts& parts);

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* RevokeCertificate(Context*, const hallmark::admin::v1::RevokeCertificateRequest*,
                             hallmark::admin::v1::RevokedCertificate*) override;
  Reactor* ListRevokedCertificates(Context*, const hallmark::admin::v1::ListRevokedCertificatesRequest*,
                                   hallmark::admin::v1::ListRevokedCertificatesResponse*) override;
  Reactor* UnrevokeCertificate(Context*, const hallmark::admin::v1::UnrevokeCertificateRequest*,
                               hallmark::admin::v1::UnrevokeCertificateResponse*) override;
  Reactor* ListCertificates(Context*, const hallmark::admin::v1::ListCertificatesRequest*,
                            hallmark::admin::v1::ListCertificatesResponse*) override;

 private:
  Status Revoke(const Caller& caller, const hallmark::admin::v1::RevokeCertificateRequest& request,
                hallmark::admin::v1::RevokedCertificate& response);
  Status Unrevoke(const Caller& caller, const hallmark::admin::v1::UnrevokeCertificateRequest& request);
  void List(hallmark::admin::v1::ListCertificatesResponse& response);
  const Parts parts_;
};

}  // namespace hallmark::service
