#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"

// What sysfs has: small files with one value. Any thread.
namespace hallmark::health {

// One line without its end and without blanks around it. kNotFound, kIoFailed; kInvalidArgument for more than 4 KiB.
Result<std::string> ReadLine(const std::filesystem::path& path);

// A decimal number and nothing else. Also kInvalidArgument.
Result<std::int64_t> ReadNumber(const std::filesystem::path& path);

// What is in the folder, "name2" before "name10". Nothing where there is no folder.
std::vector<std::filesystem::path> Entries(const std::filesystem::path& folder);

}  // namespace hallmark::health
