#include "signerd/serving.h"

#include <algorithm>
#include <utility>

#include "firmware/runtime/sd_notify.h"
#include "signerd/health/liveness.h"

namespace hallmark {
namespace {

constexpr std::chrono::milliseconds kHealthInterval{250};
constexpr std::chrono::seconds kWatchdogInterval{10};  // well within WatchdogSec= of the unit
// So long systemd waits to hear whether it signs. A token that is away must not have the daemon started anew.
constexpr std::chrono::seconds kVerdict{15};

// That a token signs checkpoints says nothing of mail.
bool HasKeysOfDomains(const snapshot::Snapshot& view, const std::string& group) {
  return std::any_of(view.domains.begin(), view.domains.end(), [&](const auto& domain) {
    const auto& keys = domain.second.active_keys;
    return std::any_of(keys.begin(), keys.end(), [&](const auto& key) { return key->token == group; });
  });
}

bool CanSign(const Vitals& vitals) {
  if (!vitals.ledger.available()) return false;
  bool ledgers = false;
  for (const tokens::TokenFacts& token : vitals.tokens.Facts()) {
    if (token.status.state != link::TokenState::kReady || vitals.health.SignsNot(token.name)) continue;
    if (token.group != vitals.ledger_token) return true;
    ledgers = true;
  }
  // All domains are looked through only where no other token signs.
  return ledgers && HasKeysOfDomains(*vitals.current.Get(), vitals.ledger_token);
}

}  // namespace

bool WaitFor(const sigset_t& signals, std::chrono::nanoseconds most) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(most);
  const timespec wait{whole.count(), (most - whole).count()};
  return ::sigtimedwait(&signals, nullptr, &wait) > 0;
}

void ServeUntilSignal(const sigset_t& signals, const Vitals& vitals, service::Listener& signing,
                      service::Listener& admin) {
  admin.SetServing(true);
  bool serving = false;
  std::string line;
  health::Liveness liveness;
  std::chrono::steady_clock::time_point watchdog_due{};
  const auto verdict_due = std::chrono::steady_clock::now() + kVerdict;
  bool started = false;  // systemd was told
  while (!WaitFor(signals, kHealthInterval)) {
    const bool ready = CanSign(vitals);
    if (ready != serving) signing.SetServing(ready);
    serving = ready;
    const auto now = std::chrono::steady_clock::now();
    const bool told = vitals.health.told() || now >= verdict_due;  // and so says the line
    if (const std::string next = vitals.health.Line(); next != line) NotifySystemd("STATUS=" + (line = next));
    if (told && !std::exchange(started, true)) NotifySystemd("READY=1");
    const auto counters = vitals.pipeline.counters();
    const auto answered = counters.signed_messages + counters.repeated_messages + counters.refused_messages;
    const bool alive = liveness.Look(now, vitals.health.last_look(), answered, counters.in_flight);
    if (!alive || now < watchdog_due) continue;
    NotifySystemd("WATCHDOG=1");
    watchdog_due = now + kWatchdogInterval;
  }
}

}  // namespace hallmark
