#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

namespace hallmark::tokens {

// One [[token]] of the configuration.
struct TokenConfig {
  std::string name;
  // Tokens of one group hold the same keys, and keys name the group as their token. Empty: a group of its own, of its
  // name.
  std::string group = {};

  const std::string& group_name() const { return group.empty() ? name : group; }

  std::filesystem::path module;    // the PKCS#11 library
  std::string uri;                 // RFC 7512, with pin-source
  std::filesystem::path pin_file;  // that of the pin-source; only tokend reads it, signerd looks at its age
  unsigned sessions = 4;
  // A C_Sign that takes longer counts as hung: its process is replaced.
  std::chrono::milliseconds sign_timeout{5000};
  std::map<std::string, std::string> environment;  // for tokend and the module
};

}  // namespace hallmark::tokens
