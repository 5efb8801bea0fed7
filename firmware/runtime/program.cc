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

// What counts is how it is afterwards: systemd may forbid setrlimit, and have set the limit before.
Status LeaveNoCore() {
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return MakeError(Reason::kInternal, "this process could be traced: the system refuses PR_SET_DUMPABLE");
  }
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  rlimit now{};
  if (::getrlimit(RLIMIT_CORE, &now) != 0 || now.rlim_max != 0) {
    return MakeError(Reason::kInternal, "this process could leave a core: the system refuses a limit of RLIMIT_CORE");
  }
  return Ok();
}

Status GainNoPrivileges() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return Ok();
  return MakeError(Reason::kInternal, "this process could gain privileges: the system refuses PR_SET_NO_NEW_PRIVS");
}

std::size_t RaiseFileLimit() {
  rlimit limit{1024, 1024};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
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
