#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "signerd/dns/nameserver.h"

namespace hallmark::dns {

// A name server that takes our updates (RFC 2136).
struct PublisherSettings {
  std::string name;  // what a policy calls it; never kManualPublisher
  Nameserver server;
  // The TSIG key. `key` and `algorithm` may be empty where the file says them itself (tsig_key.h).
  std::string key;
  std::string algorithm;
  std::filesystem::path secret_file;  // empty: updates are not signed
};

// The publisher that is always there: a person adds the record, and it is only observed.
inline constexpr char kManualPublisher[] = "manual";

// [dns] of hallmark.toml.
struct Settings {
  // Who is asked where a name's zone, its servers and their addresses are; unset: those of /etc/resolv.conf.
  std::optional<Nameserver> resolver;
  // Where the authoritative servers listen.
  std::uint16_t nameserver_port = 53;
  // How long a question may take at one server, and how often it is asked.
  std::chrono::milliseconds timeout{3000};
  std::uint8_t attempts = 2;
  // DS or DNSKEY records as in a zone file; empty: nothing is validated.
  std::filesystem::path trust_anchor;
  std::vector<PublisherSettings> publishers;
};

}  // namespace hallmark::dns
