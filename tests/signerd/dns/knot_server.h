#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

// A Knot DNS of the test's own on a free port of 127.0.0.1; ended by its process id.
class KnotServer {
 public:
  // `zone` is the content of the zone "example.test"; "other.test" holds one TXT record at target.other.test, and
  // "broken.test" is configured without a zone file, so that the server answers SERVFAIL. Null when it does not start.
  static std::unique_ptr<KnotServer> Start(const std::string& zone);
  ~KnotServer();
  KnotServer(const KnotServer&) = delete;
  KnotServer& operator=(const KnotServer&) = delete;

  std::uint16_t port() const { return port_; }

 private:
  KnotServer() = default;
  bool Write(const std::string& zone) const;
  bool Spawn();
  std::filesystem::path folder_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};
