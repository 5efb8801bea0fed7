#include <pthread.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <mutex>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/log.h"
#include "firmware/runtime/metrics.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/sd_notify.h"
#include "firmware/runtime/tls13.h"
#include "signerd/admission/quota.h"
#include "signerd/checkpoint_key.h"
#include "signerd/config.h"
#include "signerd/initial_policy.h"
#include "signerd/key_records.h"
#include "signerd/keys/key_manager.h"
#include "signerd/keys/schedule.h"
#include "signerd/ledger/indexer.h"
#include "signerd/ledger/ledger.h"
#include "signerd/ledger/retention.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/policy/policy_file.h"
#include "signerd/service/admin_gate.h"
#include "signerd/service/admin_service.h"
#include "signerd/service/alert_service.h"
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
constexpr std::chrono::milliseconds kHealthInterval{250};
constexpr std::chrono::seconds kIndexWait{45};          // within what systemd gives a start
constexpr std::chrono::hours kStuck{1};                 // a rotation that waits longer for what should be there
constexpr std::int64_t kAdminMessageOctets = 64 << 20;  // a policy of 100,000 domains, and room

// The signals that end the daemon. Blocked in every thread; WaitForEnd takes them.
sigset_t EndSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

// Keeps the health service true until a signal asks the daemon to end.
void ServeUntilSignal(const sigset_t& signals, tokens::TokenSet& tokens, const ledger::Ledger& ledger,
                      service::Listener& signing, service::Listener& admin) {
  admin.SetServing(true);
  const timespec interval{0, std::chrono::nanoseconds(kHealthInterval).count()};
  bool serving = false;
  while (::sigtimedwait(&signals, nullptr, &interval) < 0) {
    bool ready = false;
    for (const auto& facts : tokens.Facts()) ready = ready || facts.status.state == link::TokenState::kReady;
    ready = ready && ledger.available();
    if (ready != serving) signing.SetServing(ready);
    serving = ready;
  }
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
Result<std::unique_ptr<watch::Webhook>> StartWebhook(const watch::WebhookSettings& settings, store::Store& store,
                                                     const Clock& clock) {
  if (settings.url.empty()) return std::unique_ptr<watch::Webhook>();
  return watch::Webhook::Start(settings, store, clock);
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

Status Run(const SignerdConfig& config, const std::filesystem::path& tokend) {
  const sigset_t signals = EndSignals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk

  std::error_code failed;
  std::filesystem::create_directories(config.state_directory, failed);
  auto store = store::Store::Open(config.state_directory / "hallmark.db");
  if (!store) return store.error();
  Status done = PutInitialPolicy(**store, config.initial_policy);
  if (!done) return done;
  auto first = (*store)->BuildSnapshot(nullptr);
  if (!first) return first.error();
  snapshot::Current current(std::move(*first));
  std::mutex publishing;  // one at a time, so that an older state never replaces a newer one
  const auto publish = [&]() -> Status {
    const std::lock_guard lock(publishing);
    auto next = (*store)->BuildSnapshot(current.Get().get());
    if (!next) return next.error();
    current.Set(std::move(*next));
    return Ok();
  };

  const SystemClock clock;
  tokens::TokenSet tokens(tokend, config.tokens);
  admission::Quotas quotas;
  TokenSigner signer(tokens);
  CheckpointKey checkpoint_key(**store, tokens, signer, config.checkpoint_token);
  const auto recipients = ledger::Recipients::Open(config.recipients, config.ledger.directory);
  if (!recipients) return recipients.error();
  auto ledger = ledger::Ledger::Open(config.ledger, clock);
  if (!ledger) return ledger.error();
  const auto indexer = ledger::Indexer::Start((*ledger)->directory(), [&] { return (*ledger)->durable().size; });
  auto retention = ledger::Retention::Start(**ledger, *indexer, clock, config.keep_days);
  if (!retention) return retention.error();
  watch::Tap tap;
  pipeline::PipelineConfig watched = config.pipeline;
  watched.observer = &tap;
  pipeline::Pipeline pipeline(watched, tokens, clock, current, quotas, **ledger, *recipients,
                              [&](std::uint64_t sequence) { return indexer->Record(sequence); });
  keys::KeyManager keys(**store, signer, clock, publish);
  const auto records = KeyRecords::Open(config.dns, clock);
  if (!records) return records.error();
  const auto journal = [&](const hallmark::ledger::v1::Record& record) { return (*ledger)->AppendAndWait(record); };
  keys::Rotator rotator({**store, signer, **records, **records, clock, publish,
                         [&](const store::KeyEvent& step, const std::string& outcome) {
                           return journal(service::ToLedgerRecord(step, outcome));
                         }},
                        keys.locks());
  keys::Schedule schedule([&](const std::string& domain) { return rotator.Tick(domain); }, clock);
  const auto poke = [&](const std::string& domain) { schedule.Poke(domain); };
  auto signing_transport = service::Transport::Open("signing", config.signing, current, clock);
  if (!signing_transport) return signing_transport.error();
  auto admin_transport = service::Transport::Open("admin", config.admin, current, clock);
  if (!admin_transport) return admin_transport.error();
  const service::TransportWatch transport_watch({signing_transport->get(), admin_transport->get()}, clock);
  service::SigningService signing_service(
      {current, **signing_transport, pipeline, static_cast<std::size_t>(config.message_octets)});
  auto operators = operators::Operators::Open(**store, clock, config.operators);
  if (!operators) return operators.error();
  auto approvals = operators::Approvals::Open(**store, clock, config.approval_length);
  if (!approvals) return approvals.error();
  service::AdminGate gate({**admin_transport, **operators, **approvals, journal});
  service::OperatorService operator_service({gate, **operators, **approvals});
  service::AdminService admin_service(
      {gate, **store, keys, rotator, current, pipeline, tokens, clock, publish, poke, HALLMARK_VERSION});
  service::RotationService rotation_service({gate, **store, rotator, **records, signer, clock, poke});
  service::MigrationService migration_service({gate, keys});
  service::PolicyService policy_service({gate, **store, pipeline.reception(), publish});
  service::CertificateService certificate_service({gate, **store, current, transport_watch, clock, publish});
  service::LedgerService ledger_service({gate, **ledger, *indexer, **retention, *recipients, [&] {
                                           const auto key = (*ledger)->verifier_key();
                                           return key ? Result<ledger::VerifierKey>(*key)
                                                      : RecordedVerifierKey(**store, config.ledger.origin);
                                         }});
  service::AlertService alert_service({gate, **store, clock});
  auto webhook = StartWebhook(config.webhook, **store, clock);
  if (!webhook) return webhook.error();
  const auto suspend = [&](const std::string& partner) { return policy_service.SuspendPartner(partner); };
  watch::Watcher watcher({config.watch, tap.traffic, **store, current, clock, journal, suspend,
                          [&] { return (*ledger)->available(); }, [&] { return rotator.Troubles(kStuck); },
                          webhook->get()});
  done = RestoreQuotas(**ledger, *indexer, clock, *current.Get(), quotas);
  if (!done) log::warn("partners' volume of today begins at nothing: {}", done.error().message);
  done = pipeline.Recall();
  if (!done) log::warn("answers given before this start are not known again: {}", done.error().message);

  tokens.Start();
  (*ledger)->Start(checkpoint_key);
  auto signing = service::Listener::Start(**signing_transport, {&signing_service}, "hallmark.signing.v1.SigningService",
                                          config.message_octets);
  if (!signing) return signing.error();
  auto admin = service::Listener::Start(**admin_transport,
                                        {&admin_service, &policy_service, &certificate_service, &operator_service,
                                         &ledger_service, &alert_service, &rotation_service, &migration_service},
                                        "hallmark.admin.v1.AdminService", kAdminMessageOctets);
  if (!admin) return admin.error();
  auto metrics = StartMetrics(config.metrics_listen, tap, watcher,
                              {pipeline, tokens, **ledger, quotas, current, transport_watch, rotator, clock});
  if (!metrics) return metrics.error();
  log::info("ready: signing on {}, admin on {}", (*signing)->address(), (*admin)->address());
  NotifySystemd("READY=1");
  for (const auto& [name, domain] : current.Get()->domains) schedule.Poke(name);

  ServeUntilSignal(signals, tokens, **ledger, **signing, **admin);

  log::info("stopping: waiting up to {} s for calls under way", kDrain.count());
  NotifySystemd("STOPPING=1");
  const auto deadline = std::chrono::system_clock::now() + kDrain;
  (*signing)->Stop(deadline);
  metrics->reset();
  watcher.Stop();
  (*admin)->Stop(deadline);
  schedule.Halt();
  (*ledger)->StopCheckpoints();  // the last one is signed while there is a token
  tokens.Stop();
  schedule.Stop();  // a step that waits for a token no longer does
  log::info("stopped");
  return Ok();
}

int Main(int argc, char** argv) {
  CLI::App app{"Hallmark's signing daemon: takes messages over gRPC, and has them signed in a PKCS#11 token"};
  app.set_version_flag("--version", HALLMARK_VERSION);
  app.footer("Examples:\n  signerd --config /etc/hallmark/hallmark.toml\n  signerd --config hallmark.toml --check");
  std::filesystem::path path = "/etc/hallmark/hallmark.toml";
  app.add_option("--config", path, "The configuration file")->capture_default_str();
  bool check = false;
  app.add_flag("--check", check, "Only read and check the configuration file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  LeaveNoCore();
  log::Init("signerd", "info");
  Status done = RequireTls13();
  Result<SignerdConfig> config = done ? LoadConfig(path) : Result<SignerdConfig>(done.error());
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
  done = Run(*config, CompanionProgram("tokend"));
  if (!done) log::error("cannot start: {}", done.error().message);
  return done ? 0 : 1;
}

}  // namespace
}  // namespace hallmark

int main(int argc, char** argv) { return hallmark::Main(argc, argv); }
