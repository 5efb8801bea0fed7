#include "tools/milter/warning_tally.h"

namespace hallmark::milter {
namespace {

constexpr std::chrono::minutes kLogEvery{1};
// signerd has fewer. One that made them up would fill memory and metrics.
constexpr std::size_t kMostCodes = 64;
constexpr std::string_view kOthers = "OTHER";

}  // namespace

bool WarningTally::Count(std::string_view code, Time now) {
  const std::lock_guard lock(mutex_);
  auto found = codes_.find(code);
  if (found == codes_.end() && codes_.size() >= kMostCodes) code = kOthers;
  if (found == codes_.end()) found = codes_.try_emplace(std::string(code)).first;
  Code& known = found->second;
  const bool log = known.count == 0 || now - known.logged >= kLogEvery;
  ++known.count;
  if (log) known.logged = now;
  return log;
}

std::map<std::string, std::uint64_t, std::less<>> WarningTally::Counts() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::uint64_t, std::less<>> counts;
  for (const auto& [code, known] : codes_) counts.emplace(code, known.count);
  return counts;
}

}  // namespace hallmark::milter
