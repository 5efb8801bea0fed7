#include "tools/dkimctl/progress.h"

#include <unistd.h>

#include <cstdio>
#include <string>

namespace hallmark::ctl {
namespace {

constexpr std::size_t kBar = 40;
constexpr std::chrono::milliseconds kInterval(50);

}  // namespace

Progress::Progress(std::size_t total) : total_(total), shown_(total > 1 && ::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::Tick(bool well) {
  const std::lock_guard lock(mutex_);
  ++done_;
  if (!well) ++failed_;
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || (now - drawn_ < kInterval && done_ != total_)) return;
  drawn_ = now;
  Draw();
}

void Progress::Draw() const {
  const std::size_t filled = done_ * kBar / total_;
  std::string line = "\r[" + std::string(filled, '#') + std::string(kBar - filled, '.') + "] " + std::to_string(done_) +
                     "/" + std::to_string(total_);
  if (failed_ != 0) line += ", " + std::to_string(failed_) + " failed";
  line += "\033[K";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace hallmark::ctl
