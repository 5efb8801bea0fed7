#include <pthread.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <thread>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/log.h"
#include "firmware/runtime/metrics.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/sd_notify.h"
#include "firmware/runtime/tls13.h"
#include "signerd/admission/quota.h"
#include "signerd/checkpoint_key.h"
#include "signerd/config.h"
#include "signerd/health/health.h"
#include "signerd/health/liveness.h"
#include "signerd/initial_domains.h"
#include "signerd/initial_policy.h"
#include "signerd/key_records.h"
#include "signerd/keys/key_manager.h"
#include "signerd/keys/presence.h"
#include "signerd/keys/schedule.h"
#include "signerd/ledger/indexer.h"
#include "signerd/ledger/ledger.h"
#include "signerd/ledger/retention.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/policy/policy_file.h"
#include "signerd/service/admin_gate.h"
#include "signerd/service/admin_service.h"
#include "signerd/service/alert_service.h"
#include "signerd/service/appliance_service.h"
#include "signerd/service/certificate_service.h"
#include "signerd/service/ledger_service.h"
#include "signerd/service/listener.h"
#include "signerd/service/migration_service.h"
#include "signerd/service/operator_service.h"
#include "signerd/service/policy_service.h"
#include "signerd/service/rotation_convert.h"
#include "signerd/service/rotation_service.h"
#include "signerd/service/signing_service.h"
#include "signerd/store/store.h"
#include "signerd/system_metrics.h"
#include "signerd/token_signer.h"
#include "signerd/tokens/token_set.h"
#include "signerd/watch/tap.h"
#include "signerd/watch/watcher.h"

// The composition root: builds every part, starts them, and stops them in the opposite order.
namespace hallmark {
namespace {

constexpr std::chrono::seconds kDrain{10};
// Then only those are left who watch the daemon's health, and who never end by themselves; and answers on their way.
constexpr std::chrono::seconds kLastAnswers{1};
constexpr std::chrono::milliseconds kHealthInterval{250}, kDrainInterval{10};
constexpr std::chrono::seconds kWatchdogInterval{10};  // well within WatchdogSec= of the unit
// So long systemd waits to hear whether it signs. A token that is away must not have the daemon started anew.
constexpr std::chrono::seconds kVerdict{15};
constexpr std::chrono::seconds kIndexWait{45};  // within what systemd gives a start
constexpr std::chrono::seconds kPresenceInterval{600}, kCopyInterval{60};
constexpr std::chrono::hours kStuck{1};                 // a rotation that waits longer for what should be there
constexpr char kResetMark[] = "factory-reset";          // in the state: its keys are destroyed
constexpr char kRestoring[] = "restoring";              // in the state: dkimctl is filling it
constexpr std::int64_t kAdminMessageOctets = 64 << 20;  // a policy of 100,000 domains, and room

// True when one of the signals came.
bool WaitFor(const sigset_t& signals, std::chrono::nanoseconds most) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(most);
  const timespec wait{whole.count(), (most - whole).count()};
  return ::sigtimedwait(&signals, nullptr, &wait) > 0;
}

// What tells whether the daemon can sign, and whether it still works.
struct Vitals {
  tokens::TokenSet& tokens;
  const ledger::Ledger& ledger;
  const pipeline::Pipeline& pipeline;
  const health::Health& health;
  const snapshot::Current& current;
  const std::string ledger_token;  // or its group, beside the first; empty: that has the ledger's key too
};

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

// Keeps the health service and systemd informed until a signal asks the daemon to end: READY=1 when test signatures
// have shown whether it signs, or did not in time. Where this loop hangs, on the tokens' thread say, or what it watches
// does, systemd's watchdog starts the daemon anew.
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
    const bool alive = liveness.Look(now, vitals.health.last_look(),
                                     counters.signed_messages + counters.refused_messages, counters.in_flight);
    if (!alive || now < watchdog_due) continue;
    NotifySystemd("WATCHDOG=1");
    watchdog_due = now + kWatchdogInterval;
  }
}

// Nothing where there is no record.
std::chrono::sys_seconds LastRecordTime(const ledger::Ledger& ledger, const ledger::Indexer& indexer) {
  const std::uint64_t size = ledger.durable().size;
  const auto octets = size == 0 ? Result<std::string>(std::string()) : indexer.Record(size - 1);
  hallmark::ledger::v1::Record record;
  if (!octets || !record.ParseFromString(*octets)) return {};
  return std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(record.time_us())));
}

// Whether what is older than so many days may be told by the clock.
Status ClockIsSet(const health::Health& health) {
  if (!health.Current().has_observe_time() || health.awaits_clock()) {
    return MakeError(Reason::kLedgerUnavailable, "whether the clock is set is not known yet");
  }
  return health.clock_not_set() ? MakeError(Reason::kStateConflict, "the clock is not set") : Ok();
}

// Where systemd has the daemon put what others may read: the unit's RuntimeDirectory=. Empty elsewhere.
std::filesystem::path PublishedHealth() {
  const char* folder = std::getenv("RUNTIME_DIRECTORY");
  return folder == nullptr ? std::filesystem::path() : std::filesystem::path(folder) / "health.json";
}

// What partners have sent today, from the ledger: a restart gives nobody a new day. An index that is made anew may take
// long; then the day's volume is that of what was indexed in time.
Status RestoreQuotas(const ledger::Ledger& ledger, const ledger::Indexer& indexer, const Clock& clock,
                     const snapshot::Snapshot& snapshot, admission::Quotas& quotas) {
  const std::uint64_t size = ledger.durable().size;
  if (!indexer.WaitFor(size, kIndexWait)) {
    log::warn("the ledger's index has {} of {} records after {} s: partners' volume of today is counted from these",
              indexer.state().indexed, size, kIndexWait.count());
  }
  const auto today = std::chrono::floor<std::chrono::days>(clock.Now());
  const auto totals = indexer.Totals(today.time_since_epoch().count());
  if (!totals) return totals.error();
  for (const auto& [partner, total] : *totals) {
    if (snapshot.FindPartner(partner) == nullptr) continue;
    quotas.Restore(partner, static_cast<std::uint64_t>(total.messages), static_cast<std::uint64_t>(total.recipients),
                   today);
  }
  return Ok();
}

// Null where none is configured.
Result<std::unique_ptr<watch::Webhook>> StartWebhook(const watch::WebhookSettings& settings, store::Store& store) {
  if (settings.url.empty()) return std::unique_ptr<watch::Webhook>();
  return watch::Webhook::Start(settings, store);
}

// The same.
Result<std::unique_ptr<MetricsServer>> StartMetrics(const std::string& listen, const watch::Tap& tap,
                                                    const watch::Watcher& watcher, const SystemParts& parts) {
  if (listen.empty()) return std::unique_ptr<MetricsServer>();
  const auto collect = [&tap, &watcher, parts] {
    MetricWriter out;
    out.Family("hallmark_build_info", "1, with the version", prometheus::MetricType::Gauge);
    out.Gauge({{"version", HALLMARK_VERSION}}, 1);
    tap.metrics.Write(out);
    watcher.Write(out);
    WriteSystemMetrics(parts, out);
    return out.Take();
  };
  auto server = MetricsServer::Start(listen, {collect});
  if (server) log::info("metrics on {}", (*server)->address());
  return server;
}

// A state that is being erased, or that a restore did not finish, is none to sign with.
Status CheckState(const std::filesystem::path& directory) {
  std::error_code failed;
  if (std::filesystem::exists(directory / kResetMark, failed)) {
    return MakeError(Reason::kStateConflict, (directory / kResetMark).string() +
                                                 ": a factory reset destroyed the keys; the box is to erase the state");
  }
  if (std::filesystem::exists(directory / kRestoring, failed)) {
    return MakeError(Reason::kStateConflict, (directory / kRestoring).string() +
                                                 ": a restore was cut short: empty the folder, and restore again");
  }
  return Ok();
}

// The keys of a snapshot that sign.
keys::Presence::Keys ActiveKeys(const snapshot::Snapshot& snapshot) {
  keys::Presence::Keys keys;
  for (const auto& [name, domain] : snapshot.domains) {
    keys.insert(keys.end(), domain.active_keys.begin(), domain.active_keys.end());
  }
  return keys;
}

// `appliance`: on the box's own image, which can start as new.
Status Run(const SignerdConfig& config, const std::filesystem::path& tokend, bool appliance) {
  const sigset_t signals = BlockEndSignals();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk

  std::error_code failed;
  std::filesystem::create_directories(config.state_directory, failed);
  Status done = CheckState(config.state_directory);
  if (!done) return done;
  auto store = store::Store::Open(config.state_directory / "hallmark.db");
  if (!store) return store.error();
  const SystemClock clock;
  done = PutInitialPolicy(**store, config.initial_policy);
  if (done) done = PutInitialRotation(**store, config.initial_rotation);
  if (done) done = PutInitialDomains(**store, config.initial_domains, clock);
  if (!done) return done;
  auto first = (*store)->BuildSnapshot(nullptr);
  if (!first) return first.error();
  snapshot::Current current(std::move(*first));
  std::mutex publishing;                 // one at a time, so that an older state never replaces a newer one
  std::atomic<bool> unpublished{false};  // the store has what the snapshot does not
  const auto publish = [&]() -> Status {
    const std::lock_guard lock(publishing);
    auto next = (*store)->BuildSnapshot(current.Get().get());
    unpublished = !next;
    if (!next) return next.error();
    current.Set(std::move(*next));
    return Ok();
  };
  const auto publish_again = [&] { return unpublished ? publish() : Ok(); };

  tokens::TokenSet tokens(tokend, config.tokens);
  admission::Quotas quotas;
  TokenSigner signer(tokens);
  CheckpointKey checkpoint_key(**store, tokens, signer, clock, config.checkpoint_token);
  const auto recipients = ledger::Recipients::Open(config.recipients, config.ledger.directory);
  if (!recipients) return recipients.error();
  auto ledger = ledger::Ledger::Open(config.ledger, clock);
  if (!ledger) return ledger.error();
  const auto indexer = ledger::Indexer::Start((*ledger)->directory(), [&] { return (*ledger)->durable().size; });
  const auto last_record = LastRecordTime(**ledger, *indexer);
  watch::Tap tap;
  service::Drain drain;
  pipeline::PipelineConfig watched = config.pipeline;
  watched.observer = &tap;
  pipeline::Pipeline pipeline(watched, tokens, clock, current, quotas, **ledger, *recipients,
                              [&](std::uint64_t sequence) { return indexer->Record(sequence); });
  health::SelfTest self_test({tokens, current,
                              [&] {
                                const auto key = RecordedCheckpointKey(**store);
                                return key ? *key : nullptr;
                              },
                              clock});
  health::Health health(
      {config.health, self_test, [&] { return tokens.Facts(); }, clock, last_record, PublishedHealth()});
  auto retention = ledger::Retention::Start(
      {**ledger, *indexer, clock, config.keep_days, last_record, [&] { return ClockIsSet(health); }});
  if (!retention) return retention.error();
  keys::KeyManager keys(**store, signer, clock, publish);
  const auto records = KeyRecords::Open(config.dns, clock);
  if (!records) return records.error();
  const auto journal = [&](const hallmark::ledger::v1::Record& record) { return (*ledger)->AppendAndWait(record); };
  keys::Rotator rotator({**store, signer, **records, **records, clock, publish, publish_again,
                         [&](const store::KeyEvent& step, const std::string& outcome) {
                           return journal(service::ToLedgerRecord(step, outcome));
                         },
                         [&](std::chrono::sys_seconds time) { return (*retention)->CountsSince(time); }},
                        keys.locks());
  InitialRecords initial_records(**store, config.initial_domains, config.state_directory / "dns-records");
  keys::Schedule schedule(
      [&](const std::string& domain) {
        const auto next = rotator.Tick(domain);
        initial_records.Look();
        return next;
      },
      clock);
  const auto poke = [&](const std::string& domain) { schedule.Poke(domain); };
  auto signing_transport = service::Transport::Open("signing", config.signing, current, clock);
  if (!signing_transport) return signing_transport.error();
  auto admin_transport = service::Transport::Open("admin", config.admin, current, clock);
  if (!admin_transport) return admin_transport.error();
  const service::TransportWatch transport_watch({signing_transport->get(), admin_transport->get()}, clock);
  service::SigningService signing_service({current, **signing_transport, pipeline, health.clock_not_set(), drain,
                                           static_cast<std::size_t>(config.message_octets)});
  auto operators = operators::Operators::Open(**store, clock, config.operators);
  if (!operators) return operators.error();
  auto approvals = operators::Approvals::Open(**store, clock, config.approval_length);
  if (!approvals) return approvals.error();
  // Where keys have to be copied from token to token it is news when one is.
  const bool copies = std::any_of(config.tokens.begin(), config.tokens.end(), [&](const tokens::TokenConfig& token) {
    return tokens.MembersOf(token.group_name()).size() > 1;
  });
  keys::Presence presence([&] { return ActiveKeys(*current.Get()); }, signer,
                          copies ? kCopyInterval : kPresenceInterval);
  backup::BackupSettings backup_settings = config.backup;
  backup_settings.version = HALLMARK_VERSION;
  service::AdminGate gate({**admin_transport, **operators, **approvals, journal});
  service::OperatorService operator_service({gate, **operators, **approvals});
  service::AdminService admin_service({gate, **store, keys, rotator, current, pipeline, tokens, health, clock, publish,
                                       poke, HALLMARK_VERSION, backup_settings.box, presence});
  service::RotationService rotation_service({gate, **store, rotator, **records, signer, clock, poke,
                                             [&](const std::string& domain) { schedule.Queue(domain); }});
  service::MigrationService migration_service({gate, keys});
  service::PolicyService policy_service({gate, **store, pipeline.reception(), publish});
  service::CertificateService certificate_service({gate, **store, current, transport_watch, clock, publish});
  const std::filesystem::path reset_mark = appliance ? config.state_directory / kResetMark : std::filesystem::path();
  const auto verifier_keys = [&] {
    return RecordedVerifierKeys(**store, config.ledger.directory, config.ledger.origin);
  };
  service::LedgerService ledger_service({gate, **ledger, *indexer, **retention, *recipients, verifier_keys});
  service::AlertService alert_service({gate, **store, clock});
  std::mutex stopping;  // held by who joins the threads that make keys: a factory reset, or the end
  const auto stop_making_keys = [&] {
    const std::lock_guard lock(stopping);
    schedule.Stop();
    (*ledger)->StopCheckpoints();  // the first one makes a key
  };
  service::ApplianceService appliance_service({gate, **ledger, **store, signer, clock, backup_settings, verifier_keys,
                                               reset_mark, journal, stop_making_keys,
                                               [] { ::kill(::getpid(), SIGTERM); }});
  auto webhook = StartWebhook(config.webhook, **store);
  if (!webhook) return webhook.error();
  const auto suspend = [&](const std::string& partner) { return policy_service.SuspendPartner(partner); };
  watch::Watcher watcher({config.watch, tap.traffic, **store, current, clock, journal, suspend,
                          [&] { return (*ledger)->trouble(); }, [&] { return rotator.Troubles(kStuck); },
                          [&] { return health.Troubles(); }, webhook->get()});
  done = RestoreQuotas(**ledger, *indexer, clock, *current.Get(), quotas);
  if (!done) log::warn("partners' volume of today begins at nothing: {}", done.error().message);
  done = pipeline.Recall();
  if (!done) log::warn("answers given before this start are not known again: {}", done.error().message);

  tokens.Start();
  checkpoint_key.Allow(
      {config.state_directory / "new-ledger-key", config.ledger.directory, config.ledger.origin, journal});
  (*ledger)->Start(checkpoint_key);
  health.Start();
  presence.Start();
  auto signing = service::Listener::Start(**signing_transport, {&signing_service}, "hallmark.signing.v1.SigningService",
                                          config.message_octets);
  if (!signing) return signing.error();
  auto admin = service::Listener::Start(
      **admin_transport,
      {&admin_service, &policy_service, &certificate_service, &operator_service, &ledger_service, &alert_service,
       &rotation_service, &migration_service, &appliance_service},
      "hallmark.admin.v1.AdminService", kAdminMessageOctets);
  if (!admin) return admin.error();
  auto metrics = StartMetrics(config.metrics_listen, tap, watcher,
                              {pipeline, tokens, **ledger, quotas, current, transport_watch, rotator, health, clock});
  if (!metrics) return metrics.error();
  log::info("ready: signing on {}, admin on {}", (*signing)->address(), (*admin)->address());
  RequestInitialKeys(**store, rotator, config.initial_domains);
  for (const auto& [name, domain] : current.Get()->domains) schedule.Queue(name);

  const std::string& ledger_token = config.checkpoint_token;
  ServeUntilSignal(signals,
                   {tokens, **ledger, pipeline, health, current, ledger_token == tokens.first() ? "" : ledger_token},
                   **signing, **admin);

  NotifySystemd("STOPPING=1\nSTATUS=stopping");
  (*signing)->SetServing(false);
  log::info("stopping: relays have {} s to go elsewhere, calls under way up to {} s to end",
            config.health.drain.count(), kDrain.count());
  WaitFor(signals, config.health.drain);  // a second signal cuts it short
  health.Stop();
  const auto deadline = std::chrono::system_clock::now() + kDrain;
  tokens.EndKeyCallsAfter(kDrain);  // or what waits for a key would not end in time
  drain.closed = true;
  while ((pipeline.counters().in_flight > 0 || drain.uploads > 0) && std::chrono::system_clock::now() < deadline) {
    std::this_thread::sleep_for(kDrainInterval);
  }
  (*signing)->Stop(std::min(deadline, std::chrono::system_clock::now() + kLastAnswers));
  metrics->reset();
  watcher.Stop();
  (*admin)->Stop(deadline);
  schedule.Halt();
  {
    const std::lock_guard lock(stopping);
    (*ledger)->StopCheckpoints();  // the last one is signed while there is a token
  }
  tokens.Stop();
  stop_making_keys();  // a step that waits for a token no longer does
  presence.Stop();     // the same
  log::info("stopped");
  return Ok();
}

int Main(int argc, char** argv) {
  CLI::App app{"Hallmark's signing daemon: takes messages over gRPC, and has them signed in a PKCS#11 token"};
  app.set_version_flag("--version", HALLMARK_VERSION);
  app.footer("Examples:\n  signerd --config /etc/hallmark/hallmark.toml\n  signerd --config hallmark.toml --check");
  std::filesystem::path path = "/etc/hallmark/hallmark.toml";
  app.add_option("--config", path, "The configuration file")->capture_default_str();
  bool appliance = false;
  app.add_flag("--appliance", appliance, "On the appliance's own image: allow a factory reset");
  bool check = false;
  app.add_flag("--check", check, "Only read and check the configuration file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  log::Init("signerd", "info");
  Status done = LeaveNoCore();
  if (done) done = RequireTls13();
  Result<SignerdConfig> config = done ? LoadConfig(path, appliance) : Result<SignerdConfig>(done.error());
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().message.c_str());
    return 1;
  }
  if (check) {
    std::error_code ignored;
    // Not needed after the first start, so it may be gone.
    if (!config->initial_policy.empty() && std::filesystem::exists(config->initial_policy, ignored)) {
      const auto policy = policy::LoadPolicy(config->initial_policy);
      if (!policy) {
        std::fprintf(stderr, "%s\n", policy.error().message.c_str());
        return 1;
      }
    }
    std::printf("%s: OK\n", path.c_str());
    return 0;
  }
  log::Init("signerd", config->log_level);
  done = Run(*config, CompanionProgram("tokend"), appliance);
  if (!done) log::error("cannot start: {}", done.error().message);
  return done ? 0 : 1;
}

}  // namespace
}  // namespace hallmark

int main(int argc, char** argv) { return hallmark::Main(argc, argv); }
