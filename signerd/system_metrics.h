#pragma once

#include "firmware/runtime/clock.h"
#include "firmware/runtime/metrics.h"
#include "signerd/admission/quota.h"
#include "signerd/health/health.h"
#include "signerd/keys/rotator.h"
#include "signerd/ledger/ledger.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/service/transport.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/tokens/token_set.h"

namespace hallmark {

// What the parts of the daemon say about themselves, for /metrics. All live longer than the server that asks.
struct SystemParts {
  const pipeline::Pipeline& pipeline;
  tokens::TokenSet& tokens;
  const ledger::Ledger& ledger;
  const admission::Quotas& quotas;
  const snapshot::Current& snapshot;
  const service::TransportWatch& certificates;
  keys::Rotator& rotator;
  const health::Health& health;
  const Clock& clock;
};

// Partners whose quota use is told; the first by name.
inline constexpr std::size_t kMostQuotaPartners = 1000;

// Asks the tokens' thread, so not from there.
void WriteSystemMetrics(const SystemParts& parts, MetricWriter& out);

}  // namespace hallmark
