#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "firmware/provision/configuration.h"
#include "firmware/provision/signed_file.h"

// What is done on an operator's machine.
namespace hallmark::provision {

struct Source {
  std::string text;  // packed
  Configuration configuration;
};

// Reads box.toml and the files that it names, and checks all of it, with signerd too. kConfigInvalid with a line for
// each mistake.
Result<Source> ReadSource(const std::filesystem::path& box);

// A folder with a configuration to begin with, and empty places for the CAs. kAlreadyExists where one of the files is
// there.
Result<std::vector<std::string>> MakeStarter(const std::filesystem::path& folder, const std::string& host_name);

}  // namespace hallmark::provision
