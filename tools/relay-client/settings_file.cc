#include "tools/relay-client/settings_file.h"

#include "tools/relay-client/server_address.h"

namespace hallmark::relay {
namespace {

constexpr std::int64_t kLongestTimeout = 600'000;
constexpr std::int64_t kLargestMessage = std::int64_t{1} << 30;

}  // namespace

Settings ReadSettings(ConfigTable& signerd) {
  Settings settings;
  constexpr std::string_view kServers = "signerd's signing listeners, such as [\"127.0.0.1:8461\"]";
  settings.servers = signerd.Strings("servers", kServers);
  for (const std::string& server : settings.servers) {
    if (!IsHostAndPort(server)) signerd.Reject("servers", "\"" + server + "\" is no HOST:PORT", kServers);
  }
  settings.server_name =
      signerd.String("server_name", "the name that the servers' certificates say, such as \"localhost\"", "");
  settings.ca = signerd.ReadableFile("ca", "a PEM file with the CA of the servers' certificates");
  settings.certificate = signerd.ReadableFile("certificate", "a PEM file with this relay's certificate chain");
  settings.private_key = signerd.ReadableFile("private_key", "a PEM file with this relay's private key");
  settings.timeout =
      std::chrono::milliseconds(signerd.Integer("timeout_ms", settings.timeout.count(), 100, kLongestTimeout));
  constexpr std::string_view kCanonicalization = "\"relaxed\" or \"simple\"";
  const std::string body = signerd.String("body_canonicalization", kCanonicalization, "relaxed");
  if (body == "simple") {
    settings.body_canonicalization = Canonicalization::kSimple;
  } else if (body != "relaxed") {
    signerd.Reject("body_canonicalization", "\"" + body + "\" is no canonicalization", kCanonicalization);
  }
  settings.send_message = signerd.Flag("send_message", false);
  settings.message_octets = static_cast<std::uint64_t>(
      signerd.Integer("message_octets", static_cast<std::int64_t>(settings.message_octets), 1024, kLargestMessage));
  return settings;
}

}  // namespace hallmark::relay
