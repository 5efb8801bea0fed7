#pragma once

#include "hallmark/admin/v1/alerts.pb.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/store/store.h"

namespace hallmark::watch {

// As the API and the webhook have it, and as the ledger has it.
hallmark::admin::v1::Alert ToApi(const store::AlertRow& row);
hallmark::ledger::v1::Record ToRecord(const store::AlertRow& row);

}  // namespace hallmark::watch
