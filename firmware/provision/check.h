#pragma once

#include <filesystem>

#include "firmware/provision/configuration.h"
#include "firmware/runtime/result.h"

namespace hallmark::provision {

// Whether signerd takes what the configuration brings: asks `signerd --check` in a folder of its own, and what only the
// box wants. Changes nothing. kConfigInvalid with "FILE:LINE: KEY: what is wrong; expected ..." for each mistake, files
// named as in `folder`; kNotFound where signerd is not installed.
Status CheckForDaemon(const Configuration& configuration, const std::filesystem::path& folder = "");

}  // namespace hallmark::provision
