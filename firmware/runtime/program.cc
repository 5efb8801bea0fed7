#include "firmware/runtime/program.h"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace hallmark {

std::filesystem::path CompanionProgram(std::string_view name) {
  std::error_code ignored;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& path : {folder / name, folder.parent_path() / "sbin" / name}) {
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return folder.parent_path() / "libexec" / "hallmark" / name;
}

void LeaveNoCore() {
  ::prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

sigset_t BlockEndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  return signals;
}

}  // namespace hallmark
