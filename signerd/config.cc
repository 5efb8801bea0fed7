#include "signerd/config.h"

#include <unistd.h>

#include <algorithm>

#include "firmware/runtime/certificate.h"
#include "firmware/runtime/config.h"
#include "firmware/runtime/secret.h"
#include "signerd/backup/envelope.h"
#include "signerd/config_tables.h"
#include "signerd/ledger/retention.h"
#include "signerd/watch/webhook_post.h"

namespace hallmark {
namespace {

void ReadState(ConfigTable& table, SignerdConfig& config) {
  config.state_directory = table.Path("directory", "the folder that holds the daemon's state");
  if (table.Has("initial_policy"))
    config.initial_policy = table.Path("initial_policy", "the policy for the first start");
}

void ReadLog(ConfigTable& table, SignerdConfig& config) {
  constexpr std::string_view kLevels = "debug, info, warn or error";
  config.log_level = table.String("level", kLevels, config.log_level);
  if (config.log_level != "debug" && config.log_level != "info" && config.log_level != "warn" &&
      config.log_level != "error") {
    table.Reject("level", "found \"" + config.log_level + "\"", kLevels);
  }
}

void ReadPipeline(ConfigTable& table, pipeline::PipelineConfig& pipeline) {
  pipeline.threads = static_cast<std::size_t>(table.Integer("threads", 0, 0, 1024));
  pipeline.in_flight = static_cast<std::size_t>(table.Integer("in_flight", 2048, 1, 1 << 20));
}

std::string HostName() {
  char host[256] = "";
  return ::gethostname(host, sizeof host - 1) == 0 ? host : "";
}

// "hallmark/" and the host's name.
std::string DefaultOrigin() {
  const std::string host = HostName();
  return ledger::IsOrigin(host) ? "hallmark/" + host : "hallmark";
}

ledger::SinkConfig ReadSink(ConfigTable& table) {
  ledger::SinkConfig sink;
  constexpr std::string_view kKinds = "\"file\" or \"journald\"", kModes = "\"required\" or \"best-effort\"";
  const std::string kind = table.String("kind", kKinds);
  if (kind == "file") {
    sink.path = table.Path("path", "the file that records are appended to");
  } else if (kind == "journald") {
    sink.kind = ledger::SinkKind::kJournald;
  } else if (!kind.empty()) {
    table.Reject("kind", "found \"" + kind + "\"", kKinds);
  }
  const std::string mode = table.String("mode", kModes, "best-effort");
  if (mode != "required" && mode != "best-effort") table.Reject("mode", "found \"" + mode + "\"", kModes);
  sink.required = mode == "required";
  sink.timeout = std::chrono::milliseconds(table.Integer("timeout_ms", 2000, 10, 60'000));
  return sink;
}

void ReadLedger(ConfigTable& table, SignerdConfig& config) {
  constexpr std::string_view kOrigin = "a name without white space and \"+\", for example \"hallmark/mx.example.com\"";
  constexpr std::string_view kRecipients = "clear, hashed or none";
  constexpr std::string_view kToken = "the name of a [[token]], or of its group, that makes Ed25519 keys";
  if (table.Has("directory")) config.ledger.directory = table.Path("directory", "the folder that holds the ledger");
  config.ledger.segment_octets =
      static_cast<std::uint64_t>(table.Integer("segment_octets", 64 << 20, 1 << 20, std::int64_t{1} << 32));
  config.ledger.checkpoint_interval = std::chrono::seconds(table.Integer("checkpoint_seconds", 10, 1, 60));
  config.ledger.origin = table.String("origin", kOrigin, config.ledger.origin);
  if (!ledger::IsOrigin(config.ledger.origin))
    table.Reject("origin", "found \"" + config.ledger.origin + "\"", kOrigin);
  config.checkpoint_token = table.String("token", kToken, config.checkpoint_token);
  const auto named = std::find_if(config.tokens.begin(), config.tokens.end(), [&](const auto& token) {
    return token.group_name() == config.checkpoint_token || token.name == config.checkpoint_token;
  });
  if (named != config.tokens.end()) {
    config.checkpoint_token = named->group_name();  // a key is all of the group's
  } else if (table.Has("token")) {
    table.Reject("token", "found \"" + config.checkpoint_token + "\"", kToken);
  }
  if (auto sink = table.OptionalTable("sink")) config.ledger.sink = ReadSink(*sink);
  config.pipeline.deduplication.entries =
      static_cast<std::size_t>(table.Integer("request_ids", 500'000, 0, 10'000'000));
  config.keep_days = table.Integer("keep_days", 0, 0, ledger::Retention::kMostDays);
  const std::string recipients = table.String("recipients", kRecipients, "hashed");
  using Mode = ledger::Recipients::Mode;
  if (recipients == "clear") {
    config.recipients = Mode::kClear;
  } else if (recipients == "none") {
    config.recipients = Mode::kNone;
  } else if (recipients != "hashed") {
    table.Reject("recipients", "found \"" + recipients + "\"", kRecipients);
  }
}

void ReadWebhook(ConfigTable& table, watch::WebhookSettings& webhook) {
  constexpr std::string_view kUrl = "\"https://HOST/PATH\", or http to a loopback address";
  constexpr std::string_view kSecret = "a file with the secret that signs what is sent, that nobody else can read";
  constexpr std::string_view kCa = "a PEM file with the server's CA";
  webhook.url = table.String("url", kUrl);
  if (!webhook.url.empty()) {
    const auto url = watch::ParseUrl(webhook.url);
    if (!url) table.Reject("url", url.error().message, kUrl);
  }
  webhook.secret_file = table.ReadableFile("secret_file", kSecret);
  if (!webhook.secret_file.empty()) {
    const auto secret = ReadSecretFile(webhook.secret_file);
    table.Check("secret_file", secret ? Ok() : Status(secret.error()), kSecret);
  }
  if (table.Has("ca")) webhook.ca = table.ReadableFile("ca", kCa);
  if (!webhook.ca.empty()) table.Check("ca", CheckClientCa(webhook.ca), kCa);
}

void ReadWatch(ConfigTable& table, SignerdConfig& config) {
  config.watch.learning = std::chrono::days(table.Integer("learning_days", 7, 0, 365));
  config.watch.min_volume = table.Integer("min_volume", 100, 1, 1'000'000'000);
  config.watch.cool_down = std::chrono::minutes(table.Integer("cool_down_minutes", 60, 1, 10'080));
  config.watch.dormant = std::chrono::days(table.Integer("dormant_days", 30, 1, 3650));
  if (auto webhook = table.OptionalTable("webhook")) ReadWebhook(*webhook, config.webhook);
}

void ReadHealth(ConfigTable& table, health::Settings& settings, bool appliance) {
  settings.test_interval = std::chrono::seconds(table.Integer("test_signature_seconds", 60, 0, 3600));
  if (appliance && settings.test_interval.count() == 0) {
    table.Reject("test_signature_seconds", "found 0: an appliance keeps an update only after a test signature",
                 "a whole number from 1 to 3600");
  }
  settings.report_expected = table.Has("report");
  if (settings.report_expected) settings.report = table.Path("report", "the file that hallmark-health writes");
  settings.alert_after = std::chrono::seconds(table.Integer("alert_after_seconds", 300, 0, 86'400));
  settings.drain = std::chrono::seconds(table.Integer("drain_seconds", 2, 0, 10));
}

void ReadBackup(ConfigTable& table, const std::filesystem::path& folder, backup::BackupSettings& settings) {
  constexpr std::string_view kRecipients = "a list of PEM certificates to encrypt backups for";
  for (const std::string& name : table.Strings("recipients", kRecipients)) {
    const std::filesystem::path path = folder / name;
    table.Check("recipients", backup::CheckRecipient(path), kRecipients);
    settings.recipients.push_back(path);
  }
}

// What a backup has of the configuration. Secrets are not among them: whoever sets up another box has them, or makes
// new ones.
std::vector<std::filesystem::path> PublicFiles(const std::filesystem::path& path, const SignerdConfig& config) {
  std::vector<std::filesystem::path> files = {path};
  for (const auto* listener : {&config.signing, &config.admin}) {
    files.insert(files.end(), {listener->certificate, listener->client_ca, listener->client_crl});
  }
  files.insert(files.end(), {config.initial_policy, config.webhook.ca, config.dns.trust_anchor});
  files.insert(files.end(), config.backup.recipients.begin(), config.backup.recipients.end());
  std::erase_if(files, [](const auto& file) { return file.empty(); });
  return files;
}

}  // namespace

Result<SignerdConfig> LoadConfig(const std::filesystem::path& path, bool appliance) {
  auto file = ConfigFile::Load(path);
  if (!file) return file.error();
  ConfigTable root = (*file)->root();
  SignerdConfig config;

  ConfigTable signing = root.Table("signing"), admin = root.Table("admin"), state = root.Table("state");
  ReadSigning(signing, config);
  ReadAdmin(admin, config);
  ReadState(state, config);
  ReadInitialKeys(root, config);
  if (auto log = root.OptionalTable("log")) ReadLog(*log, config);
  if (auto pipeline = root.OptionalTable("pipeline")) ReadPipeline(*pipeline, config.pipeline);
  if (auto metrics = root.OptionalTable("metrics")) ReadMetrics(*metrics, config);
  if (auto watch = root.OptionalTable("watch")) ReadWatch(*watch, config);
  if (auto dns = root.OptionalTable("dns")) ReadDns(*dns, config.dns);
  if (auto health = root.OptionalTable("health")) ReadHealth(*health, config.health, appliance);
  ReadTokens(root, (*file)->folder(), config);

  config.ledger.directory = config.state_directory / "ledger";
  config.ledger.origin = DefaultOrigin();
  if (!config.tokens.empty()) config.checkpoint_token = config.tokens.front().group_name();
  if (auto ledger = root.OptionalTable("ledger")) ReadLedger(*ledger, config);

  if (auto backup = root.OptionalTable("backup")) ReadBackup(*backup, (*file)->folder(), config.backup);
  config.backup.files = PublicFiles((*file)->folder() / path.filename(), config);
  config.backup.state_directory = config.state_directory;
  config.backup.box = HostName();

  if (root.Has("relay")) {
    root.Reject("relay", "relays are part of the policy now",
                "them in a policy file: state.initial_policy before the first start, then dkimctl apply -f FILE");
  }

  const Status finished = (*file)->Finish();
  if (!finished) return finished.error();
  return config;
}

}  // namespace hallmark
