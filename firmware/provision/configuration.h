#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/provision/token.h"
#include "firmware/runtime/result.h"

// The declarative configuration of a box: one TOML text. An operator writes it as box.toml, which names other files
// beside it; packed, the same text goes on with a table [file] that holds what is in them. docs/appliance.md lists the
// keys.
namespace hallmark::provision {

// The largest configuration, packed. A policy of some ten thousand partners fits.
inline constexpr std::size_t kMostOctets = 4u << 20;
inline constexpr std::size_t kMostFiles = 64;
// The folder of files that nobody on the box may read but signerd. Whoever has the configuration can read them.
inline constexpr std::string_view kSecrets = "secrets/";

// Empty: DHCP, on every wired interface.
struct Network {
  std::string interface;               // empty: every wired one
  std::vector<std::string> addresses;  // "192.0.2.10/24", "2001:db8::10/64"
  std::vector<std::string> gateways;   // addresses
  std::vector<std::string> dns;        // addresses
  friend bool operator==(const Network&, const Network&) = default;
};

// A domain that is to sign from the first start on.
struct Domain {
  std::string name;
  std::vector<std::string> algorithms;  // rsa2048, rsa3072, rsa4096, ed25519
};

struct Configuration {
  std::int64_t revision = 1;  // a box that is set up takes a higher one only
  std::string host_name;
  std::string replaces;  // the name of the box before, where this one gives a box that is set up another; else empty
  std::vector<std::string> dns_names, ip_addresses;  // of the box's certificate
  std::vector<std::string> time_servers;             // empty: as DHCP or the image says
  Network network;
  Token token;
  std::vector<Domain> domains;
  std::string restore_sha256;  // of the backup that the box begins with, lower-case hexadecimal; empty: with nothing
  std::vector<std::string> file_names;       // what is named, in the order of the text
  std::map<std::string, std::string> files;  // what they hold; empty where the text is not packed
};

// What the box makes itself, and no configuration may bring.
bool IsOwnFile(std::string_view name);

// What an operator wrote. `path` is for messages only: kConfigInvalid, with "FILE:LINE: KEY: what is wrong; expected
// ..." for each mistake.
Result<Configuration> ParseSource(std::string_view text, const std::filesystem::path& path);

// The same, packed: every file that is named is there, and nothing else. The text is foreign: any octets. Errors as
// above.
Result<Configuration> ParsePacked(std::string_view text, const std::filesystem::path& path);

// `source`, which ParseSource takes, with its files: what ParsePacked takes. kConfigInvalid names a file that will not
// do: not text (UTF-8), a private key, too large together.
Result<std::string> Pack(std::string_view source, const std::map<std::string, std::string>& files);

// As systemd.network(5) has it; empty for DHCP, which is what the image does by itself.
std::string NetworkFile(const Network& network);

// hallmark.toml as signerd reads it on the box: what was brought, the box's tokens and the domains to begin with.
std::string DaemonConfig(const Configuration& configuration, const TokenPlaces& places);

}  // namespace hallmark::provision
