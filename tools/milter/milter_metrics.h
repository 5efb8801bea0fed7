#pragma once

#include "firmware/runtime/metrics.h"
#include "tools/milter/tally.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::milter {

// The families of one scrape.
MetricFamilies WriteMetrics(const Tally& tally, const Histogram& signing_seconds, relay::Client& client);

}  // namespace hallmark::milter
