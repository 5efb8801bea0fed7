#include "signerd/config.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "firmware/runtime/certificate.h"
#include "firmware/runtime/config.h"
#include "firmware/runtime/encoding.h"
#include "firmware/runtime/metrics.h"
#include "signerd/backup/envelope.h"
#include "signerd/dkim/author.h"
#include "signerd/dns/observer.h"
#include "signerd/dns/tsig_key.h"
#include "signerd/keys/rotation_policy.h"
#include "signerd/ledger/retention.h"
#include "signerd/tokens/token_group.h"
#include "signerd/watch/webhook_post.h"

namespace hallmark {
namespace {

constexpr std::string_view kAddress = "\"ADDRESS:PORT\", for example \"127.0.0.1:8461\" or \"[::1]:8461\"";
constexpr std::string_view kIdentity = "\"dns:NAME\" or \"uri:URI\", as in the certificate's subject alternative name";
constexpr std::string_view kTokenUri =
    "a PKCS#11 URI with a token and a PIN file, for example "
    "\"pkcs11:token=hallmark?pin-source=file:/etc/hallmark/pin\"";

bool IsAddress(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.find(':') != std::string_view::npos && (host.front() != '[' || host.back() != ']')) return false;
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return error == std::errc() && end == port.data() + port.size() && number <= 65535;
}

service::ListenerConfig ReadListener(ConfigTable& table) {
  constexpr std::string_view kClientCrl = "a PEM file with one or more revocation lists of the client CA";
  service::ListenerConfig listener;
  listener.listen = table.String("listen", kAddress);
  if (!listener.listen.empty() && !IsAddress(listener.listen)) {
    table.Reject("listen", "found \"" + listener.listen + "\"", kAddress);
  }
  constexpr std::string_view kCertificate = "the server's PEM certificate chain";
  constexpr std::string_view kPrivateKey = "the certificate's PEM private key";
  constexpr std::string_view kClientCa = "the PEM certificate that signs the clients' certificates";
  listener.certificate = table.ReadableFile("certificate", kCertificate);
  listener.private_key = table.ReadableFile("private_key", kPrivateKey);
  listener.client_ca = table.ReadableFile("client_ca", kClientCa);
  if (!table.String("client_crl", kClientCrl, "").empty()) {
    listener.client_crl = table.ReadableFile("client_crl", kClientCrl);
  }
  if (!listener.certificate.empty()) {
    table.Check("certificate", CheckCertificate(listener.certificate), kCertificate);
  }
  if (!listener.private_key.empty()) {
    table.Check("private_key", CheckPrivateKey(listener.private_key, listener.certificate), kPrivateKey);
  }
  if (!listener.client_ca.empty()) table.Check("client_ca", CheckClientCa(listener.client_ca), kClientCa);
  return listener;
}

bool IsIdentity(std::string_view text) {
  return (text.starts_with("dns:") || text.starts_with("uri:")) && text.size() > 4;
}

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    const auto octet = HexDecode(text.substr(i + 1, 2));
    if (!octet || octet->size() != 1) return std::nullopt;
    decoded.push_back(static_cast<char>(octet->front()));
    i += 2;
  }
  return decoded;
}

// RFC 7512: path attributes are separated by ';', query attributes by '&'. The file that holds the PIN; tokend checks
// the rest of the URI with p11-kit.
Result<std::filesystem::path> PinFileOf(const std::string& uri) {
  const auto invalid = [](const std::string& what) { return MakeError(Reason::kConfigInvalid, what); };
  if (!uri.starts_with("pkcs11:")) return invalid("does not begin with \"pkcs11:\"");
  const std::size_t question = uri.find('?');
  const std::string_view path =
      std::string_view(uri).substr(7, question == std::string::npos ? question : question - 7);
  if (!PercentDecode(path)) return invalid("has a broken % escape");
  if (path.find("token=") == std::string_view::npos && path.find("serial=") == std::string_view::npos) {
    return invalid("names no token");
  }
  std::string_view query = question == std::string::npos ? "" : std::string_view(uri).substr(question + 1);
  std::optional<std::filesystem::path> file;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view attribute = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (attribute.starts_with("pin-value")) return invalid("pin-value would put the PIN into a configuration file");
    if (!attribute.starts_with("pin-source=")) continue;
    const auto source = PercentDecode(attribute.substr(11));
    if (!source) return invalid("pin-source has a broken % escape");
    std::string_view name = *source;
    if (!name.starts_with("file:/")) return invalid("pin-source is not \"file:\" and an absolute path");
    name.remove_prefix(5);
    if (name.starts_with("//")) name.remove_prefix(2);
    file = name;
  }
  if (!file) return invalid("has no pin-source");
  return *file;
}

tokens::TokenConfig ReadToken(ConfigTable& table, const std::filesystem::path& folder) {
  tokens::TokenConfig token;
  token.name = table.String("name", "a name for the token");
  token.group = table.String("group", "a name that tokens with the same keys share", "");
  token.module = table.ReadableFile("module", "the PKCS#11 library of the token");
  token.uri = table.String("uri", kTokenUri);
  if (!token.uri.empty()) {
    const auto pin_file = PinFileOf(token.uri);
    if (pin_file) {
      token.pin_file = *pin_file;
    } else {
      table.Reject("uri", pin_file.error().message, kTokenUri);
    }
  }
  token.sessions = static_cast<unsigned>(table.Integer("sessions", 4, 1, 256));
  token.sign_timeout = std::chrono::milliseconds(table.Integer("sign_timeout_ms", 5000, 100, 600'000));
  token.environment = table.StringMap("environment");
  for (auto& [name, value] : token.environment) {
    std::error_code ignored;
    const std::filesystem::path path = folder / value;
    if (!value.empty() && std::filesystem::exists(path, ignored)) value = path.string();
  }
  return token;
}

// Keys name a group as they name a token alone: one name must not mean two things.
void CheckGroups(std::vector<ConfigTable>& tables, const std::vector<tokens::TokenConfig>& tokens) {
  std::map<std::string, std::size_t> members;
  for (const tokens::TokenConfig& token : tokens) ++members[token.group_name()];
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& group = tokens[i].group;
    const bool taken = std::any_of(tokens.begin(), tokens.end(), [&](const auto& token) {
      return token.name == group && (members[group] > 1 || token.group_name() != group);
    });
    if (!group.empty() && taken) {
      tables[i].Reject("group", "\"" + group + "\" is the name of a token", "a name that no token has");
    }
    if (members[tokens[i].group_name()] > tokens::TokenGroup::kMostMembers) {
      tables[i].Reject("group", "it has too many tokens",
                       "at most " + std::to_string(tokens::TokenGroup::kMostMembers) + " in a group");
    }
  }
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
  const bool known = std::any_of(config.tokens.begin(), config.tokens.end(),
                                 [&](const auto& token) { return token.group_name() == config.checkpoint_token; });
  if (!known && table.Has("token")) table.Reject("token", "found \"" + config.checkpoint_token + "\"", kToken);
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
  webhook.url = table.String("url", kUrl);
  if (!webhook.url.empty()) {
    const auto url = watch::ParseUrl(webhook.url);
    if (!url) table.Reject("url", url.error().message, kUrl);
  }
  webhook.secret_file = table.ReadableFile("secret_file", "a file with the secret that signs what is sent");
  if (table.Has("ca")) webhook.ca = table.ReadableFile("ca", "a PEM file with the server's CA");
}

void ReadWatch(ConfigTable& table, SignerdConfig& config) {
  config.watch.learning = std::chrono::days(table.Integer("learning_days", 7, 0, 365));
  config.watch.min_volume = table.Integer("min_volume", 100, 1, 1'000'000'000);
  config.watch.cool_down = std::chrono::minutes(table.Integer("cool_down_minutes", 60, 1, 10'080));
  config.watch.dormant = std::chrono::days(table.Integer("dormant_days", 30, 1, 3650));
  if (auto webhook = table.OptionalTable("webhook")) ReadWebhook(*webhook, config.webhook);
}

dns::Nameserver ReadNameserver(ConfigTable& table, const std::string& key) {
  constexpr std::string_view kServer =
      "an address, for example \"192.0.2.53\", \"192.0.2.53:5353\" or \"[2001:db8::53]:5353\"";
  const std::string text = table.String(key, kServer);
  if (text.empty()) return {};
  const auto server = dns::ParseNameserver(text);
  if (server) return *server;
  table.Reject(key, "found \"" + text + "\"", kServer);
  return {};
}

dns::PublisherSettings ReadPublisher(ConfigTable& table) {
  constexpr std::string_view kName = "a name for the publisher; \"manual\" is always there";
  constexpr std::string_view kSecret = "a file with the TSIG key, that nobody else can read";
  dns::PublisherSettings publisher;
  publisher.name = table.String("name", kName);
  if (publisher.name == dns::kManualPublisher) table.Reject("name", "found \"manual\"", kName);
  publisher.server = ReadNameserver(table, "server");
  publisher.key = table.String("key", "the name of the TSIG key", "");
  publisher.algorithm = table.String("algorithm", "hmac-sha256 or hmac-sha512", "");
  if (table.Has("secret_file")) {
    publisher.secret_file = table.ReadableFile("secret_file", kSecret);
    if (publisher.secret_file.empty()) return publisher;
    const auto key = dns::ReadTsigKey(publisher.secret_file, publisher.key, publisher.algorithm);
    table.Check("secret_file", key ? Ok() : Status(key.error()), kSecret);
  } else if (!publisher.key.empty() || !publisher.algorithm.empty()) {
    table.Reject(publisher.key.empty() ? "algorithm" : "key", "there is no secret_file for it", kSecret);
  }
  return publisher;
}

template <class T, class Name>
void RejectRepeated(std::vector<ConfigTable>& tables, const std::vector<T>& read, const char* key, Name name) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < read.size(); ++i) {
    const std::string& value = name(read[i]);
    if (!value.empty() && !seen.insert(value).second) {
      tables[i].Reject(key, "\"" + value + "\" is used twice", "a different one for each");
    }
  }
}

void ReadDns(ConfigTable& table, dns::Settings& settings) {
  constexpr std::string_view kAnchor = "a file with DS or DNSKEY records, as in a zone file";
  if (table.Has("resolver")) settings.resolver = ReadNameserver(table, "resolver");
  settings.nameserver_port = static_cast<std::uint16_t>(table.Integer("nameserver_port", 53, 1, 65'535));
  settings.timeout = std::chrono::milliseconds(table.Integer("timeout_ms", 3000, 100, 60'000));
  settings.attempts = static_cast<std::uint8_t>(table.Integer("attempts", 2, 1, 10));
  if (table.Has("trust_anchor")) {
    settings.trust_anchor = table.ReadableFile("trust_anchor", kAnchor);
    if (!settings.trust_anchor.empty()) {
      table.Check("trust_anchor", dns::CheckTrustAnchor(settings.trust_anchor), kAnchor);
    }
  }
  std::vector<ConfigTable> publishers = table.OptionalTables("publisher");
  for (ConfigTable& publisher : publishers) settings.publishers.push_back(ReadPublisher(publisher));
  RejectRepeated(publishers, settings.publishers, "name",
                 [](const auto& publisher) -> const std::string& { return publisher.name; });
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

// What `algorithms` asks for; as is usual where nothing does.
std::vector<store::KeyKind> ReadAlgorithms(ConfigTable& table) {
  constexpr std::string_view kAlgorithms = "a list of rsa2048, rsa3072, rsa4096 and ed25519";
  const std::map<std::string, store::KeyKind> kinds = {{"rsa2048", {dkim::Algorithm::kRsaSha256, 2048}},
                                                       {"rsa3072", {dkim::Algorithm::kRsaSha256, 3072}},
                                                       {"rsa4096", {dkim::Algorithm::kRsaSha256, 4096}},
                                                       {"ed25519", {dkim::Algorithm::kEd25519Sha256, 0}}};
  std::vector<store::KeyKind> algorithms;
  for (const std::string& algorithm : table.OptionalStrings("algorithms", kAlgorithms)) {
    const auto kind = kinds.find(algorithm);
    if (kind == kinds.end()) {
      table.Reject("algorithms", "found \"" + algorithm + "\"", kAlgorithms);
    } else if (std::count(algorithms.begin(), algorithms.end(), kind->second) != 0) {
      table.Reject("algorithms", "\"" + algorithm + "\" is there twice", kAlgorithms);
    } else {
      algorithms.push_back(kind->second);
    }
  }
  return algorithms.empty() ? store::RotationPolicy().algorithms : algorithms;
}

InitialDomain ReadInitialDomain(ConfigTable& table) {
  constexpr std::string_view kDomain = "a domain, for example \"example.com\"";
  InitialDomain domain;
  const std::string name = table.String("name", kDomain);
  const auto normal = dkim::NormalizeDomain(name);
  if (normal) domain.name = *normal;
  if (!normal && !name.empty()) table.Reject("name", "found \"" + name + "\"", kDomain);
  domain.algorithms = ReadAlgorithms(table);
  return domain;
}

store::RotationPolicy ReadInitialRotation(ConfigTable& table) {
  store::RotationPolicy policy;
  policy.algorithms = ReadAlgorithms(table);
  policy.on_demand = table.Flag("on_demand", false);
  table.Check("algorithms", keys::ValidatePolicy(policy), "keys that the rotation policy of all domains can have");
  return policy;
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

  ConfigTable signing = root.Table("signing");
  config.signing = ReadListener(signing);
  config.message_octets = signing.Integer("message_octets", config.message_octets, 1 << 16, 1 << 30);

  ConfigTable admin = root.Table("admin");
  config.admin = ReadListener(admin);
  for (const std::string& identity :
       admin.Strings("first_officers", "a list of the identities of the first security officers")) {
    if (!IsIdentity(identity)) admin.Reject("first_officers", "found \"" + identity + "\"", kIdentity);
    config.operators.first_officers.insert(identity);
  }
  config.operators.session = std::chrono::seconds(admin.Integer("session_seconds", 900, 1, 900));
  config.approval_length = std::chrono::hours(admin.Integer("approval_hours", 24, 1, 720));

  ConfigTable state = root.Table("state");
  config.state_directory = state.Path("directory", "the folder that holds the daemon's state");
  if (state.Has("initial_policy"))
    config.initial_policy = state.Path("initial_policy", "the policy for the first start");

  std::vector<ConfigTable> domains = root.OptionalTables("initial_domain");
  for (ConfigTable& table : domains) config.initial_domains.push_back(ReadInitialDomain(table));
  RejectRepeated(domains, config.initial_domains, "name",
                 [](const auto& domain) -> const std::string& { return domain.name; });

  if (auto rotation = root.OptionalTable("initial_rotation")) config.initial_rotation = ReadInitialRotation(*rotation);

  if (auto log = root.OptionalTable("log")) {
    constexpr std::string_view kLevels = "debug, info, warn or error";
    config.log_level = log->String("level", kLevels, config.log_level);
    if (config.log_level != "debug" && config.log_level != "info" && config.log_level != "warn" &&
        config.log_level != "error") {
      log->Reject("level", "found \"" + config.log_level + "\"", kLevels);
    }
  }
  if (auto pipeline = root.OptionalTable("pipeline")) {
    config.pipeline.threads = static_cast<std::size_t>(pipeline->Integer("threads", 0, 0, 1024));
    config.pipeline.in_flight = static_cast<std::size_t>(pipeline->Integer("in_flight", 2048, 1, 1 << 20));
  }

  if (auto metrics = root.OptionalTable("metrics")) {
    constexpr std::string_view kLoopback = "a loopback \"ADDRESS:PORT\", for example \"127.0.0.1:9461\"";
    config.metrics_listen = metrics->String("listen", kLoopback);
    const std::string& listen = config.metrics_listen;
    if (!listen.empty() && (!IsAddress(listen) || !IsLoopback(listen))) {
      metrics->Reject("listen", "found \"" + listen + "\"", kLoopback);
    }
  }

  if (auto watch = root.OptionalTable("watch")) ReadWatch(*watch, config);
  if (auto dns = root.OptionalTable("dns")) ReadDns(*dns, config.dns);
  if (auto health = root.OptionalTable("health")) ReadHealth(*health, config.health, appliance);

  std::vector<ConfigTable> tokens = root.Tables("token");
  for (ConfigTable& table : tokens) config.tokens.push_back(ReadToken(table, (*file)->folder()));
  RejectRepeated(tokens, config.tokens, "name", [](const auto& token) -> const std::string& { return token.name; });
  CheckGroups(tokens, config.tokens);

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
