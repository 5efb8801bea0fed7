#include "firmware/provision/configuration.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "firmware/provision/names.h"
#include "firmware/runtime/config.h"
#include "firmware/runtime/encoding.h"

namespace hallmark::provision {
namespace {

constexpr std::string_view kNames =
    "a list of \"DNS:NAME\" and \"IP:ADDRESS\", for example [\"DNS:signer.example.com\"]";
constexpr std::string_view kFileNames =
    "relative names of letters, digits, \".\", \"_\" and \"-\", with \"hallmark.toml\" and \"policy.toml\" among them";
constexpr std::string_view kAlgorithms = "rsa2048, rsa3072, rsa4096 or ed25519";
constexpr std::string_view kPrivateKey = "PRIVATE KEY-----";

Error Invalid(std::string message) { return MakeError(Reason::kConfigInvalid, std::move(message)); }

void ReadNames(ConfigTable& root, Configuration& configuration) {
  for (const std::string& name : root.Strings("certificate_names", kNames)) {
    if (name.starts_with("DNS:") && IsHostName(std::string_view(name).substr(4))) {
      configuration.dns_names.push_back(name.substr(4));
    } else if (name.starts_with("IP:") && IsIpAddress(std::string_view(name).substr(3))) {
      configuration.ip_addresses.push_back(name.substr(3));
    } else {
      root.Reject("certificate_names", "found \"" + name + "\"", kNames);
    }
  }
}

template <class Accept>
std::vector<std::string> ReadList(ConfigTable& table, const std::string& key, std::string_view expected,
                                  const Accept& accept) {
  std::vector<std::string> values = table.OptionalStrings(key, expected);
  for (const std::string& value : values) {
    if (!accept(value)) table.Reject(key, "found \"" + value + "\"", expected);
  }
  return values;
}

Network ReadNetwork(ConfigTable& table) {
  constexpr std::string_view kInterface = "the name of a network interface, for example \"eno1\"";
  constexpr std::string_view kPrefixes = "addresses with their prefix lengths, for example [\"192.0.2.10/24\"]";
  constexpr std::string_view kAddresses = "addresses, for example [\"192.0.2.1\"]";
  Network network;
  network.interface = table.String("interface", kInterface, "");
  if (!network.interface.empty() && !IsInterfaceName(network.interface)) {
    table.Reject("interface", "found \"" + network.interface + "\"", kInterface);
  }
  network.addresses = ReadList(table, "addresses", kPrefixes, IsIpPrefix);
  network.gateways = ReadList(table, "gateways", kAddresses, IsIpAddress);
  network.dns = ReadList(table, "dns", kAddresses, IsIpAddress);
  if (network.addresses.empty() && !network.gateways.empty()) {
    table.Reject("gateways", "there are no addresses", "addresses too, or neither: DHCP gives both");
  }
  return network;
}

// What the token does not make. Empty where it makes it.
std::string WhyNot(const Token& token, const std::string& algorithm) {
  if (token.kind == TokenKind::kTpm && algorithm == "rsa4096") return "rsa4096, which a TPM does not make";
  if (algorithm != "ed25519" || token.ed25519) return "";
  return token.kind == TokenKind::kTpm ? "ed25519, which no TPM makes"
                                       : "ed25519, which this token makes only if token.ed25519 = true says so";
}

Domain ReadDomain(ConfigTable& table, const Token& token) {
  constexpr std::string_view kDomain =
      "a domain in lower case, for example \"example.com\"; an IDN in its A-label form";
  Domain domain;
  domain.name = table.String("name", kDomain);
  if (!domain.name.empty() && !IsHostName(domain.name)) table.Reject("name", "found \"" + domain.name + "\"", kDomain);
  domain.algorithms = ReadList(table, "algorithms", kAlgorithms, [](const std::string& name) {
    return name == "rsa2048" || name == "rsa3072" || name == "rsa4096" || name == "ed25519";
  });
  if (domain.algorithms.empty()) {
    domain.algorithms =
        token.ed25519 ? std::vector<std::string>{"rsa2048", "ed25519"} : std::vector<std::string>{"rsa2048"};
  }
  for (const std::string& algorithm : domain.algorithms) {
    const std::string why = WhyNot(token, algorithm);
    if (!why.empty()) table.Reject("algorithms", "found " + why, "algorithms of the box's token, as [\"rsa2048\"]");
  }
  if (std::set(domain.algorithms.begin(), domain.algorithms.end()).size() != domain.algorithms.size()) {
    table.Reject("algorithms", "one is there twice", kAlgorithms);
  }
  return domain;
}

void ReadFileNames(ConfigTable& root, Configuration& configuration) {
  configuration.file_names = root.Strings("files", kFileNames);
  if (configuration.file_names.empty()) return;
  std::set<std::string> names;
  for (const std::string& name : configuration.file_names) {
    if (!IsFileName(name) || IsOwnFile(name)) root.Reject("files", "found \"" + name + "\"", kFileNames);
    if (!names.insert(name).second) root.Reject("files", "\"" + name + "\" is there twice", kFileNames);
  }
  for (const std::string& name : names) {
    // The first name that could be in a folder of this name.
    const auto below = names.lower_bound(name + "/");
    if (below != names.end() && below->starts_with(name + "/")) {
      root.Reject("files", "\"" + name + "\" is a file and a folder", kFileNames);
    }
  }
  if (names.size() > kMostFiles) root.Reject("files", "too many", "at most " + std::to_string(kMostFiles));
  for (const char* needed : {"hallmark.toml", "policy.toml"}) {
    if (!names.contains(needed)) root.Reject("files", std::string("\"") + needed + "\" is missing", kFileNames);
  }
}

void ReadBox(ConfigTable& root, Configuration& configuration) {
  constexpr std::string_view kHost = "the box's name, in lower case, for example \"signer1.example.com\"";
  root.Integer("format", 0, 1, 1);
  if (!root.Has("format")) root.Reject("format", "missing", "format = 1");
  configuration.revision = root.Integer("revision", 1, 1, 1'000'000'000);
  configuration.host_name = root.String("host_name", kHost);
  if (!configuration.host_name.empty() && !IsBoxName(configuration.host_name)) {
    root.Reject("host_name", "found \"" + configuration.host_name + "\"", kHost);
  }
  constexpr std::string_view kBefore = "the name that the box has now, where host_name is to be another";
  configuration.replaces = root.String("replaces", kBefore, "");
  if (!configuration.replaces.empty() && !IsHostName(configuration.replaces)) {
    root.Reject("replaces", "found \"" + configuration.replaces + "\"", kBefore);
  }
  ReadNames(root, configuration);
  configuration.time_servers = ReadList(root, "time_servers", "names or addresses of time servers (NTP)",
                                        [](const std::string& name) { return IsHostName(name) || IsIpAddress(name); });
  ReadFileNames(root, configuration);
  if (auto network = root.OptionalTable("network")) configuration.network = ReadNetwork(*network);
  if (auto token = root.OptionalTable("token")) configuration.token = ReadToken(*token);
  if (auto restore = root.OptionalTable("restore")) {
    constexpr std::string_view kSha256 = "the backup's SHA-256, 64 hexadecimal digits, as sha256sum prints it";
    const std::string sha256 = restore->String("sha256", kSha256);
    const auto octets = HexDecode(sha256);
    if (octets && octets->size() == 32) configuration.restore_sha256 = HexEncode(*octets);
    if (configuration.restore_sha256.empty() && !sha256.empty())
      restore->Reject("sha256", "found \"" + sha256 + "\"", kSha256);
  }
  if (configuration.token.kind == TokenKind::kSmartcard && root.Has("domain")) {
    root.Reject("domain", "no key is made on a smartcard",
                "no [[domain]]: its keys are taken up later, by dkimctl key adopt");
  }
  std::set<std::string> seen;
  for (ConfigTable& table : root.OptionalTables("domain")) {
    configuration.domains.push_back(ReadDomain(table, configuration.token));
    const std::string& name = configuration.domains.back().name;
    if (!name.empty() && !seen.insert(name).second) {
      table.Reject("name", "\"" + name + "\" is there twice", "each domain once");
    }
  }
}

// Text of which a person sees all: no control characters but line ends and tabs.
bool IsText(std::string_view text) {
  while (!text.empty()) {
    const auto octet = static_cast<unsigned char>(text.front());
    const std::size_t size = Utf8Octets(text);
    if (size == 0 || (octet < 0x20 && octet != '\n' && octet != '\t' && octet != '\r') || octet == 0x7f) return false;
    text.remove_prefix(size);
  }
  return true;
}

Status CheckFile(const std::string& name, std::string_view content) {
  if (!IsText(content)) return Invalid(name + ": is not text in UTF-8; certificates are taken as PEM");
  if (content.find(kPrivateKey) != std::string_view::npos) {
    return Invalid(name + ": holds a private key; a configuration is signed, not encrypted: take it out");
  }
  return Ok();
}

// As a multi-line basic string of TOML: readable as it was.
std::string TomlText(std::string_view text) {
  std::string out = "\"\"\"\n";
  int quotes = 0;
  for (const char c : text) {
    quotes = c == '"' ? quotes + 1 : 0;
    if (c == '\\' || quotes == 3) out += '\\';
    if (quotes == 3) quotes = 0;
    if (c == '\r') {
      out += "\\r";
    } else {
      out += c;
    }
  }
  if (quotes > 0) out.insert(out.size() - 1, "\\");
  return out + "\"\"\"\n";
}

std::string Quoted(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "\"" : ", \"") + value + "\"";
  return "[" + text + "]";
}

}  // namespace

bool IsOwnFile(std::string_view name) {
  // Nor what would be a file in the place of a folder of these, or a folder in the place of a file.
  const std::string path = std::string(name) + "/";
  for (const std::string own : {"softhsm2.conf/", "tls/server.pem/", "tls/server.key/", "box/"}) {
    if (path.starts_with(own) || own.starts_with(path)) return true;
  }
  return path.find(".cred/") != std::string::npos;
}

Result<Configuration> ParseSource(std::string_view text, const std::filesystem::path& path) {
  auto file = ConfigFile::Parse(text, path);
  if (!file) return file.error();
  Configuration configuration;
  ConfigTable root = (*file)->root();
  ReadBox(root, configuration);
  if (const Status finished = (*file)->Finish(); !finished) return finished.error();
  return configuration;
}

Result<Configuration> ParsePacked(std::string_view text, const std::filesystem::path& path) {
  const auto too_large = [&] {
    return Invalid(path.string() + ": is larger than " + std::to_string(kMostOctets) + " octets");
  };
  if (text.size() > kMostOctets) return too_large();
  auto file = ConfigFile::Parse(text, path);
  if (!file) return file.error();
  Configuration configuration;
  ConfigTable root = (*file)->root();
  ReadBox(root, configuration);
  configuration.files = root.StringMap("file");
  if (!root.Has("file")) root.Reject("file", "missing", "what hallmark-provision pack makes");
  const std::set<std::string> named(configuration.file_names.begin(), configuration.file_names.end());
  for (const auto& [name, content] : configuration.files) {
    if (!named.contains(name)) root.Reject("file", "\"" + name + "\" is not among files", "what pack makes");
    if (const Status fit = CheckFile(name, content); !fit) root.Reject("file", fit.error().message, "text");
  }
  for (const std::string& name : named) {
    if (!configuration.files.contains(name)) root.Reject("file", "\"" + name + "\" is missing", "what pack makes");
  }
  if (const Status finished = (*file)->Finish(); !finished) return finished.error();
  return configuration;
}

Result<std::string> Pack(std::string_view source, const std::map<std::string, std::string>& files) {
  std::string text(source);
  if (!text.empty() && text.back() != '\n') text += '\n';
  text += "\n[file]\n";
  for (const auto& [name, content] : files) {
    if (const Status fit = CheckFile(name, content); !fit) return fit.error();
    text += "\"" + name + "\" = " + TomlText(content);
    if (text.size() > kMostOctets)
      return Invalid("the files have more than " + std::to_string(kMostOctets) + " octets");
  }
  return text;
}

std::string NetworkFile(const Network& network) {
  if (network == Network{}) return "";
  std::string text = "# Of the box's configuration; see systemd.network(5).\n[Match]\n";
  text += network.interface.empty() ? "Type=ether\n" : "Name=" + network.interface + "\n";
  text += "\n[Network]\n";
  text += network.addresses.empty() ? "DHCP=yes\n" : "DHCP=no\n";
  const auto add = [&](const char* key, const std::vector<std::string>& values) {
    for (const std::string& value : values) text += std::string(key) + "=" + value + "\n";
  };
  add("Address", network.addresses);
  add("Gateway", network.gateways);
  add("DNS", network.dns);
  return text;
}

std::string DaemonConfig(const Configuration& configuration, const TokenPlaces& places) {
  std::string text = WithToken(configuration.files.at("hallmark.toml"), configuration.token, places);
  for (const Domain& domain : configuration.domains) {
    text += "\n[[initial_domain]]\nname = \"" + domain.name + "\"\nalgorithms = " + Quoted(domain.algorithms) + "\n";
  }
  return text;
}

}  // namespace hallmark::provision
