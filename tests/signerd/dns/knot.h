#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

// Real authoritative servers for the tests: Knot DNS, each on a loopback address of its own, all on one free port.

// The keys that every server knows. Updates are allowed with the writers; with kNarrow only of TXT records below
// _domainkey of the zone, as docs/operations.md has it; with kReader of nothing.
struct KnotKey {
  const char* name;
  const char* algorithm;
  const char* secret;
};
inline constexpr KnotKey kWriter256{"writer256", "hmac-sha256", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="};
inline constexpr KnotKey kWriter512{
    "writer512", "hmac-sha512",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="};
inline constexpr KnotKey kReader{"reader", "hmac-sha256", "HxIdHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="};

inline constexpr KnotKey kNarrow{"narrow", "hmac-sha256", "EBESExQVFhcYGRobHB0eHxAREhMUFRYXGBkaGxwdHh8="};

struct KnotZone {
  std::string name = "";
  // Everything but the SOA record, whose TTL is 3600 and whose minimum is 1800; empty for a secondary.
  std::string records = "";
  std::string primary = "";                   // the address to transfer from; empty: this server is the primary
  std::vector<std::string> secondaries = {};  // the addresses that are notified
  bool sign = false;
  std::string denial = "nsec";  // or "nsec3", or "optout": NSEC3 that leaves unsigned delegations out
  bool never_loads = false;     // the server answers SERVFAIL
  std::string file = "";        // a whole zone file to serve instead, as it is
};

class Knot {
 public:
  // A port that is free on 127.0.1.1 to 127.0.1.9, for UDP and TCP.
  static std::uint16_t FreePort();

  // Serves `zones` at `address` from when this returns; null when it does not start within a minute. `clock` sets the
  // server's clock, as FAKETIME has it ("+3600"); empty: it is right.
  static std::unique_ptr<Knot> Start(const std::string& address, std::uint16_t port, std::vector<KnotZone> zones,
                                     const std::string& clock = "");
  ~Knot();
  Knot(const Knot&) = delete;
  Knot& operator=(const Knot&) = delete;

  // The DS records of a zone that this server signs, as in a zone file.
  std::string Ds(const std::string& zone) const;
  // The zone as it is served, signatures included.
  std::string ZoneFile(const std::string& zone) const;

 private:
  Knot() = default;
  void Write() const;
  bool Spawn(const std::string& clock);
  bool WaitUntilServing();
  std::string Run(std::vector<std::string> command) const;

  std::string address_;
  std::uint16_t port_ = 0;
  std::vector<KnotZone> zones_;
  std::filesystem::path folder_;
  pid_t pid_ = -1;
};
