#pragma once

#include <grpcpp/grpcpp.h>

#include "firmware/runtime/clock.h"
#include "hallmark/admin/v1/alerts.grpc.pb.h"
#include "signerd/service/admin_gate.h"
#include "signerd/store/store.h"

namespace hallmark::service {

// hallmark.admin.v1.AlertService. Calls come in by the AdminGate.
class AlertService final : public hallmark::admin::v1::AlertService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    store::Store& store;
    const Clock& clock;
  };
  explicit AlertService(const Parts& parts) : parts_(parts) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* ListAlerts(Context*, const hallmark::admin::v1::ListAlertsRequest*,
                      hallmark::admin::v1::ListAlertsResponse*) override;
  Reactor* AcknowledgeAlert(Context*, const hallmark::admin::v1::AcknowledgeAlertRequest*,
                            hallmark::admin::v1::Alert*) override;

 private:
  const Parts parts_;
};

}  // namespace hallmark::service
