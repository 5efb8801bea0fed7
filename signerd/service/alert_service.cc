#include "signerd/service/alert_service.h"

#include "signerd/watch/alert_convert.h"

namespace hallmark::service {
namespace {

namespace api = hallmark::admin::v1;

constexpr int kPage = 100, kLargestPage = 1000;

}  // namespace

AlertService::Reactor* AlertService::ListAlerts(Context* context, const api::ListAlertsRequest* request,
                                                api::ListAlertsResponse* response) {
  return parts_.gate.Run(context, {"ListAlerts", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    if (request->page_size() < 0 || request->page_size() > kLargestPage) {
      return MakeError(Reason::kInvalidArgument, "page_size: expected 0 to 1000");
    }
    const auto rows = parts_.store.ListAlerts(request->open_only(), request->before(),
                                              request->page_size() == 0 ? kPage : request->page_size());
    if (!rows) return rows.error();
    for (const auto& row : *rows) *response->add_alerts() = watch::ToApi(row);
    return Ok();
  });
}

AlertService::Reactor* AlertService::AcknowledgeAlert(Context* context, const api::AcknowledgeAlertRequest* request,
                                                      api::Alert* response) {
  return parts_.gate.Run(
      context, {"AcknowledgeAlert", Role::kOperator}, *request, [=, this](const Caller& caller) -> Status {
        const auto row = parts_.store.AcknowledgeAlert(request->id(), caller.name, parts_.clock.Now());
        if (!row) return row.error();
        *response = watch::ToApi(*row);
        return Ok();
      });
}

}  // namespace hallmark::service
