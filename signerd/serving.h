#pragma once

#include <signal.h>

#include <chrono>
#include <string>

#include "signerd/health/health.h"
#include "signerd/ledger/ledger.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/service/listener.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/tokens/token_set.h"

namespace hallmark {

// True when one of the signals came.
bool WaitFor(const sigset_t& signals, std::chrono::nanoseconds most);

// What tells whether the daemon can sign, and whether it still works.
struct Vitals {
  tokens::TokenSet& tokens;
  const ledger::Ledger& ledger;
  const pipeline::Pipeline& pipeline;
  const health::Health& health;
  const snapshot::Current& current;
  const std::string ledger_token;  // or its group, beside the first; empty: that has the ledger's key too
};

// Keeps the health service and systemd informed until a signal asks the daemon to end: READY=1 when test signatures
// have shown whether it signs, or did not in time. Where this hangs, on the tokens' thread say, or what it watches
// does, systemd's watchdog starts the daemon anew.
void ServeUntilSignal(const sigset_t& signals, const Vitals& vitals, service::Listener& signing,
                      service::Listener& admin);

}  // namespace hallmark
