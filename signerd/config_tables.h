#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "firmware/runtime/config.h"
#include "signerd/config.h"

// The tables of hallmark.toml whose reading has a file of its own. Each is read into its part of the configuration;
// mistakes go into the file's report.
namespace hallmark {

void ReadSigning(ConfigTable& table, SignerdConfig& config);
void ReadAdmin(ConfigTable& table, SignerdConfig& config);
void ReadMetrics(ConfigTable& table, SignerdConfig& config);

// [[token]]. What `folder` has of the values of a token's environment is made absolute.
void ReadTokens(ConfigTable& root, const std::filesystem::path& folder, SignerdConfig& config);

// [[initial_domain]] and [initial_rotation].
void ReadInitialKeys(ConfigTable& root, SignerdConfig& config);
void ReadDns(ConfigTable& table, dns::Settings& settings);

// Of tables that were read into `read`, `key` must not have a value, which `name` gives, twice.
template <class T, class Name>
void RejectRepeated(std::vector<ConfigTable>& tables, const std::vector<T>& read, const char* key, Name name) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < read.size(); ++i) {
    const std::string& value = name(read[i]);
    if (!value.empty() && !seen.insert(value).second) {
      tables[i].Reject(key, "\"" + value + "\" is used twice", "a different one for each");
    }
  }
}

}  // namespace hallmark
