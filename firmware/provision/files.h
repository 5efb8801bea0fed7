#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

// Files and folders that a box makes. Errors are kIoFailed and name the path.
namespace hallmark::provision {

// With what errno says.
Error IoError(const std::filesystem::path& path, const std::string& what);

// With those above it. One that is there gets the mode.
Status MakeFolder(const std::filesystem::path& path, mode_t mode);

// Atomically; a folder that is missing is made, for everybody to read.
Status Put(const std::filesystem::path& path, std::string_view content, mode_t mode);

// With all that is in it; it need not be there.
Status Remove(const std::filesystem::path& path);

}  // namespace hallmark::provision
