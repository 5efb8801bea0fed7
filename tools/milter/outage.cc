#include "tools/milter/outage.h"

#include <utility>

namespace hallmark::milter {
namespace {

constexpr std::chrono::minutes kLogEvery{1};

}  // namespace

std::optional<std::uint64_t> Outage::Failed(Time now) {
  const std::lock_guard lock(mutex_);
  if (line_ && now - *line_ < kLogEvery) {
    ++untold_;
    return std::nullopt;
  }
  told_ = true;
  line_ = now;
  return std::exchange(untold_, 0);
}

std::optional<std::uint64_t> Outage::Over() {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(told_, false)) return std::nullopt;
  return std::exchange(untold_, 0);
}

}  // namespace hallmark::milter
