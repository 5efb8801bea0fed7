#include "signerd/watch/alert_convert.h"

namespace hallmark::watch {

hallmark::admin::v1::Alert ToApi(const store::AlertRow& row) {
  hallmark::admin::v1::Alert alert;
  alert.set_id(row.id);
  alert.set_kind(row.kind);
  alert.set_partner(row.partner);
  alert.set_signing_domain(row.signing_domain);
  alert.set_message(row.message);
  alert.set_action(row.action);
  alert.mutable_raise_time()->set_seconds(row.raised.time_since_epoch().count());
  if (row.acknowledged.time_since_epoch().count() != 0) {
    alert.mutable_acknowledge_time()->set_seconds(row.acknowledged.time_since_epoch().count());
    alert.set_acknowledged_by(row.acknowledged_by);
  }
  return alert;
}

hallmark::ledger::v1::Record ToRecord(const store::AlertRow& row) {
  hallmark::ledger::v1::Record record;
  auto& alert = *record.mutable_alert();
  alert.set_id(row.id);
  alert.set_kind(row.kind);
  alert.set_partner(row.partner);
  alert.set_signing_domain(row.signing_domain);
  alert.set_message(row.message);
  alert.set_action(row.action);
  return record;
}

}  // namespace hallmark::watch
