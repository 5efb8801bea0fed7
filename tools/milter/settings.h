#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "tools/milter/session.h"

namespace hallmark::milter {

// Where MTAs connect: the strings that main.cf takes, "inet:ADDRESS:PORT" or "unix:/path".
struct ListenAddress {
  std::string text;
  std::string host, port;      // of inet
  std::filesystem::path path;  // of unix; empty for inet
};
Result<ListenAddress> ParseListen(const std::string& text);

struct MilterSettings {
  std::vector<ListenAddress> listen;
  unsigned socket_mode = 0660;  // of UNIX sockets
  std::string socket_group;     // empty: that of the process
  unsigned threads = 0;         // 0: as many as cores
  std::size_t connections = 10000;
  std::chrono::seconds idle{7210};
  SessionSettings session;
  std::string metrics_listen;  // empty: not served
  std::string log_level;
};

// kConfigInvalid with a line for each mistake.
Result<MilterSettings> LoadSettings(const std::filesystem::path& path);

}  // namespace hallmark::milter
