#include "tools/milter/settings.h"

#include <sys/un.h>
#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <charconv>

#include "firmware/runtime/config.h"
#include "firmware/runtime/metrics.h"
#include "tools/relay-client/settings_file.h"

namespace hallmark::milter {
namespace {

constexpr char kListenExpected[] = "\"inet:ADDRESS:PORT\" or \"unix:/path\"";
constexpr char kChoiceExpected[] = "\"tempfail\", \"accept\" (unsigned) or \"reject\"";

std::optional<std::uint16_t> ParsePort(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// Patterns with "*" at their ends only (MatchesPattern).
std::vector<std::string> ReadPatterns(ConfigTable& table, const std::string& key, std::string_view what) {
  const std::string expected = std::string(what) + ", \"*\" at the beginning or the end only";
  auto patterns = table.StringsOrNone(key, expected);
  for (const std::string& pattern : patterns) {
    if (pattern.size() > 2 && pattern.find('*', 1) < pattern.size() - 1) {
      table.Reject(key, "\"" + pattern + "\" has a \"*\" within", expected);
    }
  }
  return patterns;
}

std::vector<std::string> ReadPorts(ConfigTable& table) {
  constexpr char kExpected[] = "ports, such as [\"587\"]";
  auto ports = table.StringsOrNone("daemon_ports", kExpected);
  for (const std::string& port : ports) {
    if (!ParsePort(port)) table.Reject("daemon_ports", "\"" + port + "\" is no port", kExpected);
  }
  return ports;
}

void ReadMilter(ConfigTable table, MilterSettings& settings) {
  for (const std::string& text : table.Strings("listen", kListenExpected)) {
    if (auto address = ParseListen(text)) {
      settings.listen.push_back(std::move(*address));
    } else {
      table.Reject("listen", address.error().message, kListenExpected);
    }
  }
  const std::string mode = table.String("socket_mode", "an octal file mode such as \"0660\"", "0660");
  const auto [end, code] = std::from_chars(mode.data(), mode.data() + mode.size(), settings.socket_mode, 8);
  if (code != std::errc() || end != mode.data() + mode.size() || settings.socket_mode > 0777) {
    table.Reject("socket_mode", "\"" + mode + "\" is no file mode", "an octal file mode such as \"0660\"");
  }
  settings.socket_group = table.String("socket_group", "the name of a group", "");
  settings.threads = static_cast<unsigned>(table.Integer("threads", 0, 0, 256));
  settings.connections = static_cast<std::size_t>(table.Integer("connections", 10000, 1, 1000000));
  settings.idle = std::chrono::seconds(table.Integer("idle_seconds", 7210, 1, 86400));
}

void ReadOutbound(ConfigTable table, OutboundRules& rules) {
  rules.authenticated = table.Flag("authenticated", true);
  constexpr char kExpected[] = "networks such as \"192.0.2.0/24\", or none";
  if (table.Has("networks")) rules.networks.clear();
  for (const std::string& text : table.StringsOrNone("networks", kExpected)) {
    if (auto network = Network::Parse(text)) {
      rules.networks.push_back(*network);
    } else {
      table.Reject("networks", network.error().message, kExpected);
    }
  }
  rules.certificates = ReadPatterns(table, "certificates", "subjects of client certificates");
  rules.daemon_names = table.StringsOrNone("daemon_names", "what milter_macro_daemon_name says");
  rules.daemon_ports = ReadPorts(table);
  rules.reinjected = table.Flag("reinjected", false);
  rules.inbound_daemon_names = table.StringsOrNone("inbound_daemon_names", "what milter_macro_daemon_name says");
}

Choice ReadChoice(ConfigTable& table, const std::string& key, Choice fallback) {
  const std::string text = table.String(key, kChoiceExpected, "");
  if (text == "tempfail") return Choice::kTempfail;
  if (text == "accept") return Choice::kAccept;
  if (text == "reject") return Choice::kReject;
  if (!text.empty()) table.Reject(key, "\"" + text + "\" is not known", kChoiceExpected);
  return fallback;
}

// The first rule that holds is taken: where an earlier one of another partner takes all that this could match, it never
// would.
void RejectTaken(ConfigTable& table, const PartnerRule& rule, const std::vector<PartnerRule>& earlier) {
  using Values = std::vector<std::string> PartnerRule::*;
  const auto same = [](std::string_view taken, std::string_view value) { return taken == value; };
  // A pattern that matches another one as a text matches all that the other does.
  const auto check = [&](const char* key, Values values, const auto& takes) {
    for (const std::string& value : rule.*values) {
      const auto by = std::ranges::find_if(earlier, [&](const PartnerRule& other) {
        return other.name != rule.name &&
               std::ranges::any_of(other.*values, [&](const std::string& taken) { return takes(taken, value); });
      });
      if (by == earlier.end()) continue;
      table.Reject(key, "\"" + value + "\" goes to \"" + by->name + "\" already, whose [[partner]] comes before this",
                   "the narrower [[partner]] first");
    }
  };
  check("users", &PartnerRule::users, MatchesPattern);
  check("certificates", &PartnerRule::certificates, MatchesPattern);
  check("daemon_names", &PartnerRule::daemon_names, same);
  check("daemon_ports", &PartnerRule::daemon_ports, same);
}

PartnerRule ReadPartner(ConfigTable& table) {
  PartnerRule rule;
  rule.name = table.String("name", "the partner's name at signerd");
  rule.users = ReadPatterns(table, "users", "SASL login names");
  rule.certificates = ReadPatterns(table, "certificates", "subjects of client certificates");
  rule.daemon_names = table.StringsOrNone("daemon_names", "what milter_macro_daemon_name says");
  rule.daemon_ports = ReadPorts(table);
  if (rule.users.empty() && rule.certificates.empty() && rule.daemon_names.empty() && rule.daemon_ports.empty()) {
    table.Reject("name", "nothing says which mail is \"" + rule.name + "\"'s",
                 "users, certificates, daemon_names or daemon_ports");
  }
  return rule;
}

}  // namespace

Result<ListenAddress> ParseListen(const std::string& text) {
  ListenAddress address{.text = text, .host = {}, .port = {}, .path = {}};
  if (text.starts_with("unix:/")) {
    address.path = text.substr(5);
    if (address.path.native().size() < sizeof(sockaddr_un{}.sun_path)) return address;
    return MakeError(Reason::kConfigInvalid, "\"" + text + "\" is too long for a socket's path");
  }
  const std::size_t colon = text.rfind(':');
  if (text.starts_with("inet:") && colon > 5) {
    address.host = text.substr(5, colon - 5);
    address.port = text.substr(colon + 1);
    if (address.host.starts_with('[') && address.host.ends_with(']')) {
      address.host = address.host.substr(1, address.host.size() - 2);
    }
    boost::system::error_code error;
    boost::asio::ip::make_address(address.host, error);
    if (!error && ParsePort(address.port)) return address;
  }
  return MakeError(Reason::kConfigInvalid, "\"" + text + "\" is no place to listen on");
}

Result<MilterSettings> LoadSettings(const std::filesystem::path& path) {
  auto file = ConfigFile::Load(path);
  if (!file) return file.error();
  ConfigTable root = (*file)->root();
  MilterSettings settings;
  ReadMilter(root.Table("milter"), settings);
  ConfigTable signerd = root.Table("signerd");
  settings.session.signerd = relay::ReadSettings(signerd);
  settings.session.outbound.networks = {*Network::Parse("127.0.0.0/8"), *Network::Parse("::1")};
  if (auto outbound = root.OptionalTable("outbound")) ReadOutbound(*outbound, settings.session.outbound);
  if (auto on = root.OptionalTable("on")) {
    Choices& choices = settings.session.on;
    choices.unavailable = ReadChoice(*on, "unavailable", choices.unavailable);
    choices.refused = ReadChoice(*on, "refused", choices.refused);
    choices.unconfigured = ReadChoice(*on, "unconfigured", choices.unconfigured);
  }
  for (ConfigTable& table : root.OptionalTables("partner")) {
    PartnerRule rule = ReadPartner(table);
    RejectTaken(table, rule, settings.session.partners);
    settings.session.partners.push_back(std::move(rule));
  }
  if (auto metrics = root.OptionalTable("metrics")) {
    constexpr char kExpected[] = "a loopback \"ADDRESS:PORT\" such as \"127.0.0.1:9462\"";
    settings.metrics_listen = metrics->String("listen", kExpected);
    if (!IsLoopback(settings.metrics_listen)) {
      metrics->Reject("listen", "\"" + settings.metrics_listen + "\" is no port of this machine alone", kExpected);
    }
  }
  settings.log_level = "info";
  if (auto table = root.OptionalTable("log")) {
    settings.log_level = table->String("level", "\"debug\", \"info\", \"warn\" or \"error\"", "info");
    if (const auto& level = settings.log_level;
        level != "debug" && level != "info" && level != "warn" && level != "error") {
      table->Reject("level", "\"" + settings.log_level + "\" is not known",
                    "\"debug\", \"info\", \"warn\" or \"error\"");
    }
  }
  if (const Status status = (*file)->Finish(); !status) return status.error();
  return settings;
}

}  // namespace hallmark::milter
