#include "tools/dkimload/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace hallmark::load {
namespace {

constexpr std::size_t kBar = 30;

}  // namespace

Progress::Progress(double total_seconds) : total_seconds_(total_seconds), shown_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::Draw(double seconds, std::uint64_t ended, std::uint64_t failed) const {
  if (!shown_) return;
  const double part = std::clamp(seconds / total_seconds_, 0.0, 1.0);
  const auto filled = static_cast<std::size_t>(part * kBar);
  std::string line = "\r[" + std::string(filled, '#') + std::string(kBar - filled, '.') + "] " +
                     std::to_string(static_cast<std::int64_t>(std::max(seconds, 0.0))) + "/" +
                     std::to_string(static_cast<std::int64_t>(total_seconds_)) + " s, " + std::to_string(ended) +
                     " answers";
  if (failed != 0) line += ", " + std::to_string(failed) + " failed";
  line += "\033[K";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace hallmark::load
