#include "tools/dkimctl/progress.h"

#include <unistd.h>

#include <algorithm>
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

CountBar::CountBar(const char* what) : what_(what), shown_(::isatty(STDERR_FILENO) != 0) {}

CountBar::~CountBar() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void CountBar::Show(std::uint64_t done, std::uint64_t total) const {
  if (!shown_ || total == 0) return;
  const std::size_t filled = std::min<std::uint64_t>(done, total) * kBar / total;
  const std::string line = "\r[" + std::string(filled, '#') + std::string(kBar - filled, '.') + "] " +
                           std::to_string(done) + "/" + std::to_string(total) + " " + what_ + "\033[K";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace hallmark::ctl
