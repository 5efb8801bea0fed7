#include "firmware/runtime/program.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace hallmark {
namespace {

// From here on the kernel refuses this system call with EPERM, as a SystemCallFilter= or a container may, where this
// argument of it is `value`, or where it is not.
void Forbid(std::uint32_t call, std::uint32_t argument, std::uint32_t value, bool is = true) {
  const auto at = static_cast<std::uint32_t>(offsetof(seccomp_data, args) + argument * sizeof(seccomp_data{}.args[0]));
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, static_cast<std::uint8_t>(!is), static_cast<std::uint8_t>(is)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof(code) / sizeof(code[0]), code};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) ::_exit(77);
}

// Limits may be asked for, and not be set.
void ForbidSetrlimit() { Forbid(SYS_prlimit64, 2, 0, false); }

// What `act` says in a process of its own; empty where that is nothing.
template <class Act>
std::string InAProcess(const Act& act) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const Status done = act();
    const std::string said = done ? "" : done.error().message;
    const bool written = ::write(ends[1], said.data(), said.size()) == static_cast<ssize_t>(said.size());
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::string said;
  char octets[512];
  for (ssize_t count = 0; (count = ::read(ends[0], octets, sizeof(octets))) > 0;) said.append(octets, count);
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status << " (77: the test needs root)";
  return said;
}

TEST(Program, IsNotTracedAndGainsNothing) {
  EXPECT_EQ(InAProcess([]() -> Status {
              if (const Status done = LeaveNoCore(); !done) return done;
              if (const Status done = GainNoPrivileges(); !done) return done;
              rlimit limit{};
              ::getrlimit(RLIMIT_CORE, &limit);
              const bool hidden = ::prctl(PR_GET_DUMPABLE) == 0 && ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
              return hidden && limit.rlim_max == 0 ? Ok() : MakeError(Reason::kInternal, "it is");
            }),
            "");
}

TEST(Program, SaysWhereTheSystemDoesNotLetItHide) {
  EXPECT_NE(InAProcess([] {
              Forbid(SYS_prctl, 0, PR_SET_DUMPABLE);
              return LeaveNoCore();
            }).find("PR_SET_DUMPABLE"),
            std::string::npos);
  EXPECT_NE(InAProcess([] {
              const rlimit one{0, 1};
              ::setrlimit(RLIMIT_CORE, &one);
              ForbidSetrlimit();
              return LeaveNoCore();
            }).find("RLIMIT_CORE"),
            std::string::npos);
  EXPECT_NE(InAProcess([] {
              Forbid(SYS_prctl, 0, PR_SET_NO_NEW_PRIVS);
              return GainNoPrivileges();
            }).find("PR_SET_NO_NEW_PRIVS"),
            std::string::npos);
}

// LimitCORE=0 of a unit whose SystemCallFilter= forbids to change limits.
TEST(Program, IsContentWithALimitThatIsSet) {
  EXPECT_EQ(InAProcess([]() -> Status {
              const rlimit none{0, 0};
              ::setrlimit(RLIMIT_CORE, &none);
              ForbidSetrlimit();
              if (::setrlimit(RLIMIT_CORE, &none) == 0) return MakeError(Reason::kInternal, "it is not forbidden");
              return LeaveNoCore();
            }),
            "");
}

}  // namespace
}  // namespace hallmark
