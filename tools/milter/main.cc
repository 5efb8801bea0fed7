#include <absl/synchronization/mutex.h>

#include <CLI/CLI.hpp>
#include <boost/algorithm/string/join.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "firmware/runtime/log.h"
#include "firmware/runtime/metrics.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/sd_notify.h"
#include "firmware/runtime/tls13.h"
#include "tools/milter/milter_metrics.h"
#include "tools/milter/own_addresses.h"
#include "tools/milter/server.h"
#include "tools/milter/settings.h"

// The composition root: builds every part, starts them, and stops them in the opposite order.
namespace hallmark::milter {
namespace {

constexpr std::chrono::seconds kDrain{10};
constexpr std::size_t kOtherDescriptors = 64;  // beside those of MTAs: servers, metrics, logs

// As many descriptors as the system lets us have; says where that is too few.
void RaiseDescriptorLimit(std::size_t connections) {
  const std::size_t most = RaiseFileLimit();
  if (most < connections + kOtherDescriptors) {
    log::warn("milter.connections is {}, but the limit of open files (LimitNOFILE) is {}", connections, most);
  }
}

Status Run(MilterSettings settings) {
  // Debian builds Abseil with its search for deadlocks on, which costs gRPC some percent of a call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const sigset_t signals = BlockEndSignals();
  RaiseDescriptorLimit(settings.connections);
  auto listed = InterfaceAddresses();
  if (!listed) return listed.error();
  OwnAddresses own_addresses(InterfaceAddresses, std::move(*listed), std::chrono::steady_clock::now());
  settings.session.outbound.is_own_address = [&](const boost::asio::ip::address& address) {
    return own_addresses.Has(address, std::chrono::steady_clock::now());
  };
  auto connection = relay::Client::Connect(settings.session.signerd);
  if (!connection.client) return MakeError(Reason::kConfigInvalid, connection.failure->message);
  connection.client->Health();  // begins to connect

  Tally tally;
  Histogram signing_seconds({.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60});
  std::unique_ptr<MetricsServer> metrics;
  if (!settings.metrics_listen.empty()) {
    auto started = MetricsServer::Start(settings.metrics_listen,
                                        {[&] { return WriteMetrics(tally, signing_seconds, *connection.client); }});
    if (!started) return started.error();
    metrics = std::move(*started);
    log::info("metrics on {}", metrics->address());
  }
  auto server = Server::Start(settings, {settings.session, *connection.client, tally, signing_seconds});
  if (!server) return server.error();
  log::info("ready: milter on {}", boost::algorithm::join((*server)->addresses(), ", "));
  NotifySystemd("READY=1");

  int signal = 0;
  ::sigwait(&signals, &signal);

  log::info("stopping: waiting up to {} s for messages under way", kDrain.count());
  NotifySystemd("STOPPING=1");
  (*server)->Drain(kDrain);
  metrics.reset();
  connection.client->Cancel();  // nobody is there any more to be told
  connection.client.reset();    // what it still has to say goes to the server's threads
  server->reset();
  log::info("stopped");
  return Ok();
}

Status Check(const MilterSettings& settings) {
  const auto connection = relay::Client::Connect(settings.session.signerd);
  if (!connection.client) return MakeError(Reason::kConfigInvalid, connection.failure->message);
  return Ok();
}

int Main(int argc, char** argv) {
  CLI::App app{
      "Signs what an MTA sends out: speaks the milter protocol with Postfix and Sendmail, and has signerd sign"};
  app.set_version_flag("--version", HALLMARK_VERSION);
  app.footer(
      "Examples:\n"
      "  dkim-milter --config /etc/hallmark/milter.toml\n"
      "  dkim-milter --config milter.toml --check\n"
      "  postconf smtpd_milters=inet:127.0.0.1:8891 non_smtpd_milters=inet:127.0.0.1:8891");
  std::filesystem::path path = "/etc/hallmark/milter.toml";
  app.add_option("--config", path, "The configuration file")->capture_default_str();
  bool check = false, send_message = false;
  app.add_flag("--check", check, "Only read and check the configuration, and the files that it names");
  app.add_flag("--send-message", send_message, "Send signerd whole messages, not only their header and body hash");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  log::Init("dkim-milter", "info");
  Status done = LeaveNoCore();
  if (done) done = RequireTls13();
  auto settings = done ? LoadSettings(path) : Result<MilterSettings>(done.error());
  if (settings && send_message) settings->session.signerd.send_message = true;
  if (settings && check) done = Check(*settings);
  if (!settings || !done) {
    std::fprintf(stderr, "%s\n", (settings ? done.error() : settings.error()).message.c_str());
    return 1;
  }
  if (check) {
    std::printf("%s: OK\n", path.c_str());
    return 0;
  }
  log::Init("dkim-milter", settings->log_level);
  done = Run(std::move(*settings));
  if (!done) log::error("cannot start: {}", done.error().message);
  return done ? 0 : 1;
}

}  // namespace
}  // namespace hallmark::milter

int main(int argc, char** argv) { return hallmark::milter::Main(argc, argv); }
