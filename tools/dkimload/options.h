#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/dkimload/process_usage.h"

namespace CLI {
class App;
}

namespace hallmark::load {

enum class Method { kSign, kStream, kDigest };

// "sign"
std::string NameOf(Method method);

// What the command line asks for.
struct Options {
  std::string directory;  // --dir; empty: from the environment, else /etc/hallmark
  std::string output = "table";
  std::vector<std::string> files;

  Method method = Method::kSign;
  std::string domain;  // empty: from the author's
  double rate = 0;     // messages a second, open loop; 0: closed loop
  std::size_t in_flight = 0;
  std::uint64_t seed = 1;
  double duration_seconds = 10, warmup_seconds = 1;
  std::size_t connections = 1;
  std::int64_t deadline_milliseconds = 10'000;
  bool check = false, allow_errors = false;
  std::string keep;  // the folder of --keep; empty: nothing is kept
  std::vector<WatchedProcess> watched;

  bool json() const { return output == "json"; }
  bool open_loop() const { return rate > 0; }
  std::chrono::milliseconds deadline() const { return std::chrono::milliseconds(deadline_milliseconds); }
};

// Declares the options on `app`, whose parsing fills `options`. Throws as CLI11 does.
void AddOptions(CLI::App& app, Options& options);

}  // namespace hallmark::load
