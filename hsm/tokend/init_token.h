#pragma once

#include <filesystem>
#include <string>

#include "firmware/runtime/result.h"

namespace hallmark::tokend {

struct InitTokenConfig {
  std::filesystem::path module;
  std::string label;
  std::filesystem::path pin_file, so_pin_file;
};

// Initializes the first token that is not initialized yet, with both PINs, and gives its serial number. For trial
// set-ups and ceremonies. kNotFound when every token is initialized already: none is ever overwritten.
Result<std::string> InitToken(const InitTokenConfig& config);

}  // namespace hallmark::tokend
