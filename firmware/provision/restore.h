#pragma once

#include <filesystem>
#include <string>

#include "firmware/runtime/result.h"

namespace hallmark::provision {

// Has dkimctl fill the empty folder `state` from the stick's restore.backup, which restore.key opens. `sha256`, in
// lower-case hexadecimal, is that of the only backup that the signed configuration wants. kConfigInvalid with what
// dkimctl says; kNotFound where the stick does not give the backup.
Status RestoreState(const std::filesystem::path& stick, const std::string& sha256, const std::filesystem::path& state);

}  // namespace hallmark::provision
