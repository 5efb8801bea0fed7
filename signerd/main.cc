#include <pthread.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "firmware/runtime/log.h"
#include "firmware/runtime/metrics.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/sd_notify.h"
#include "firmware/runtime/tls13.h"
#include "signerd/config.h"
#include "signerd/initial_policy.h"
#include "signerd/parts.h"
#include "signerd/serving.h"
#include "signerd/system_metrics.h"

// The composition root: builds every part, starts them, and stops them in the opposite order.
namespace hallmark {
namespace {

constexpr std::chrono::seconds kDrain{10};
// Then only those are left who watch the daemon's health, and who never end by themselves; and answers on their way.
constexpr std::chrono::seconds kLastAnswers{1};
constexpr std::chrono::milliseconds kDrainInterval{10};
constexpr std::chrono::seconds kIndexWait{45};          // within what systemd gives a start
constexpr std::int64_t kAdminMessageOctets = 64 << 20;  // a policy of 100,000 domains, and room

// What partners have sent today, from the ledger: a restart gives nobody a new day. An index that is made anew may take
// long; then the day's volume is that of what was indexed in time.
Status RestoreQuotas(const ledger::Ledger& ledger, const ledger::Indexer& indexer, const Clock& clock,
                     admission::Quotas& quotas) {
  const std::uint64_t size = ledger.durable().size;
  if (!indexer.WaitFor(size, kIndexWait)) {
    log::warn("the ledger's index has {} of {} records after {} s: partners' volume of today is counted from these",
              indexer.state().indexed, size, kIndexWait.count());
  }
  const auto today = std::chrono::floor<std::chrono::days>(clock.Now());
  const auto totals = indexer.Totals(today.time_since_epoch().count());
  if (!totals) return totals.error();
  for (const auto& [partner, total] : *totals) {
    quotas.Restore(partner, static_cast<std::uint64_t>(total.messages), static_cast<std::uint64_t>(total.recipients),
                   today);
  }
  return Ok();
}

// Emergencies first: all the others may be many, and their name servers slow.
void LookAtDomains(store::Store& store, const snapshot::Snapshot& snapshot, keys::Schedule& schedule) {
  const auto urgent = store.ListUrgentDomains();
  if (!urgent) log::error("which domains are in an emergency is not known: {}", urgent.error().message);
  if (urgent) {
    std::for_each(urgent->begin(), urgent->end(), [&](const std::string& name) { schedule.QueueUrgent(name); });
  }
  for (const auto& [name, domain] : snapshot.domains) schedule.Queue(name);
}

// What was before this start: today's volumes, and the answers that were given last.
void Remember(const Admin::Parts& parts) {
  Status done = RestoreQuotas(*parts.books.ledger, *parts.books.indexer, parts.state.clock, parts.signing.quotas);
  if (!done) log::warn("partners' volume of today begins at nothing: {}", done.error().message);
  done = parts.signing.pipeline.Recall();
  if (!done) log::warn("answers given before this start are not known again: {}", done.error().message);
}

void Start(const SignerdConfig& config, Admin& admin) {
  const Admin::Parts& parts = admin.all;
  parts.tokens.set.Start();
  parts.tokens.checkpoint_key.Allow(
      {config.state_directory / "new-ledger-key", config.ledger.directory, config.ledger.origin, parts.Journal()});
  parts.books.ledger->Start(parts.tokens.checkpoint_key);
  parts.signing.health.Start();
  admin.presence.Start();
}

// Null where none is configured.
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

// Who is listened to.
// Connections at once, on any machine: those that say nothing cost some 25 KB each, with a handshake under way 60.
// Fewer where there are not so many files: others are opened too.
constexpr std::size_t kMostRelays = 16'384, kMostOperators = 1024;

struct Servers {
  std::unique_ptr<service::Listener> signing, admin;
  std::unique_ptr<MetricsServer> metrics;  // null where none is configured
};

Result<Servers> Listen(const SignerdConfig& config, Admin& admin, const Watching& watching) {
  const Admin::Parts& parts = admin.all;
  // Relays may fill the memory up to where no more of them are let in; operators still are, to revoke a certificate.
  const std::size_t most_octets = service::MostOctets(config.message_octets);
  const std::size_t files = RaiseFileLimit();
  const service::ListenerLimits relay_limits{config.message_octets, most_octets / 2, std::min(kMostRelays, files / 2)};
  auto signing = service::Listener::Start(*parts.front.signing_transport, {&parts.front.signing_service},
                                          "hallmark.signing.v1.SigningService", relay_limits);
  if (!signing) return signing.error();
  const service::ListenerLimits operator_limits{kAdminMessageOctets, most_octets, std::min(kMostOperators, files / 8)};
  auto operators = service::Listener::Start(*parts.front.admin_transport, admin.Services(),
                                            "hallmark.admin.v1.AdminService", operator_limits);
  if (!operators) return operators.error();
  auto metrics = StartMetrics(
      config.metrics_listen, parts.signing.tap, watching.watcher,
      {parts.signing.pipeline, parts.tokens.set, *parts.books.ledger, parts.signing.quotas, parts.state.current,
       parts.front.transport_watch, parts.rotation.rotator, parts.signing.health, parts.state.clock});
  if (!metrics) return metrics.error();
  return Servers{std::move(*signing), std::move(*operators), std::move(*metrics)};
}

// Lets what is under way end, and ends the rest.
void Drain(const sigset_t& signals, const SignerdConfig& config, Admin& admin, Watching& watching, Servers& servers) {
  const Admin::Parts& parts = admin.all;
  NotifySystemd("STOPPING=1\nSTATUS=stopping");
  servers.signing->SetServing(false);
  log::info("stopping: relays have {} s to go elsewhere, calls under way up to {} s to end",
            config.health.drain.count(), kDrain.count());
  WaitFor(signals, config.health.drain);  // a second signal cuts it short
  parts.signing.health.Stop();
  const auto deadline = std::chrono::system_clock::now() + kDrain;
  parts.tokens.set.EndKeyCallsAfter(kDrain);  // or what waits for a key would not end in time
  service::Drain& drain = parts.signing.drain;
  drain.closed = true;
  while ((parts.signing.pipeline.counters().in_flight > 0 || drain.uploads > 0) &&
         std::chrono::system_clock::now() < deadline) {
    std::this_thread::sleep_for(kDrainInterval);
  }
  servers.signing->Stop(std::min(deadline, std::chrono::system_clock::now() + kLastAnswers));
  servers.metrics.reset();
  watching.watcher.Stop();
  servers.admin->Stop(deadline);
  parts.rotation.schedule.Halt();
  admin.StopCheckpoints();  // the last one is signed while there is a token
  parts.tokens.set.Stop();
  admin.StopMakingKeys();  // a step that waits for a token no longer does
  admin.presence.Stop();   // the same
  log::info("stopped");
}

// `appliance`: on the box's own image, which can start as new.
Status Run(const SignerdConfig& config, const std::filesystem::path& tokend, bool appliance) {
  const sigset_t signals = BlockEndSignals();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk

  auto state = State::Open(config);
  if (!state) return state.error();
  Tokens tokens(config, tokend, **state);
  auto books = Books::Open(config, (*state)->clock);
  if (!books) return books.error();
  Signing signing(config, **state, tokens, **books);
  auto retention = StartRetention(config, **state, **books, signing);
  if (!retention) return retention.error();
  auto rotation = Rotation::Open(config, **state, tokens, **books, **retention);
  if (!rotation) return rotation.error();
  auto front = Front::Open(config, **state, signing);
  if (!front) return front.error();
  auto admin = Admin::Open(config, {**state, tokens, **books, signing, **retention, **rotation, **front},
                           appliance ? config.state_directory / kResetMark : std::filesystem::path());
  if (!admin) return admin.error();
  auto watching = Watching::Open(config, **admin);
  if (!watching) return watching.error();

  Remember((*admin)->all);
  Start(config, **admin);
  auto servers = Listen(config, **admin, **watching);
  if (!servers) return servers.error();
  log::info("ready: signing on {}, admin on {}", servers->signing->address(), servers->admin->address());
  RequestInitialKeys(*(*state)->store, (*rotation)->rotator, config.initial_domains);
  LookAtDomains(*(*state)->store, *(*state)->current.Get(), (*rotation)->schedule);

  const std::string& ledger_token = config.checkpoint_token;
  ServeUntilSignal(signals,
                   {tokens.set, *(*books)->ledger, signing.pipeline, signing.health, (*state)->current,
                    ledger_token == tokens.set.first() ? "" : ledger_token},
                   *servers->signing, *servers->admin);
  Drain(signals, config, **admin, **watching, *servers);
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
    done = CheckInitialPolicy(config->initial_policy);
    if (!done) {
      std::fprintf(stderr, "%s\n", done.error().message.c_str());
      return 1;
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
