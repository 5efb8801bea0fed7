#include "firmware/runtime/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <cstdlib>

namespace hallmark::log {

bool Init(const std::string& program, const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off) return false;
  auto logger = std::make_shared<spdlog::logger>(program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  // The journal adds its own time stamp.
  const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  logger->set_pattern(journal ? "%n %l: %v" : "%Y-%m-%dT%H:%M:%S.%e%z %n %l: %v");
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  return true;
}

}  // namespace hallmark::log
