#pragma once

#include <spdlog/spdlog.h>

#include <string>

// The process's one logger: standard error, one line an event, with a systemd priority prefix when the journal reads
// it.
namespace hallmark::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

// Call once at start-up. `level`: debug, info, warn or error; false when it is none of these.
bool Init(const std::string& program, const std::string& level);

}  // namespace hallmark::log
