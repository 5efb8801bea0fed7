#include <algorithm>
#include <map>

#include "signerd/config_tables.h"
#include "signerd/dkim/author.h"
#include "signerd/dns/observer.h"
#include "signerd/dns/tsig_key.h"
#include "signerd/keys/rotation_policy.h"

// The first keys of domains, and where their records are.
namespace hallmark {
namespace {

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

}  // namespace

void ReadInitialKeys(ConfigTable& root, SignerdConfig& config) {
  std::vector<ConfigTable> tables = root.OptionalTables("initial_domain");
  for (ConfigTable& table : tables) config.initial_domains.push_back(ReadInitialDomain(table));
  RejectRepeated(tables, config.initial_domains, "name",
                 [](const auto& domain) -> const std::string& { return domain.name; });
  if (auto rotation = root.OptionalTable("initial_rotation")) config.initial_rotation = ReadInitialRotation(*rotation);
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

}  // namespace hallmark
