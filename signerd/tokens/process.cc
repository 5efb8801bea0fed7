#include "signerd/tokens/process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace hallmark::tokens {
namespace {

constexpr int kLinkFd = 3;
// More than tokend gives a call of its module that hangs (hsm/tokend/serve.cc).
constexpr std::chrono::milliseconds kEndsByItself{1200};
constexpr std::chrono::milliseconds kLook{5};

// tokend gets what its module needs and nothing of signerd's own environment but the path.
std::vector<std::string> Environment(const TokenConfig& config) {
  std::vector<std::string> entries = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  for (const char* name :
       {"JOURNAL_STREAM", "CREDENTIALS_DIRECTORY", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"}) {
    if (const char* value = ::getenv(name)) entries.push_back(std::string(name) + "=" + value);
  }
  for (const auto& [name, value] : config.environment) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

class FileActions {
 public:
  FileActions() { ::posix_spawn_file_actions_init(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  Attributes() { ::posix_spawnattr_init(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

}  // namespace

Result<TokendProcess> TokendProcess::Spawn(const std::filesystem::path& program, const TokenConfig& config) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return MakeError(Reason::kInternal, std::string("no socket pair for tokend: ") + std::strerror(errno));
  }
  FileDescriptor ours(sockets[0]);
  const FileDescriptor theirs(sockets[1]);

  std::vector<std::string> arguments = {
      program.string(), "serve",    "--fd",       std::to_string(kLinkFd),        "--module", config.module.string(),
      "--token-uri",    config.uri, "--sessions", std::to_string(config.sessions)};
  std::vector<std::string> environment = Environment(config);
  // signerd takes SIGTERM and SIGINT in a thread of its own and so blocks them; tokend must start with none blocked,
  // and in a process group of its own, so that a Ctrl-C at a terminal lets signerd drain first.
  FileActions actions;
  Attributes attributes;
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(attributes.get(), &none);
  ::posix_spawnattr_setpgroup(attributes.get(), 0);
  ::posix_spawnattr_setflags(attributes.get(), POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  ::posix_spawn_file_actions_adddup2(actions.get(), theirs.get(), kLinkFd);
  ::posix_spawn_file_actions_addclosefrom_np(actions.get(), kLinkFd + 1);
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, program.c_str(), actions.get(), attributes.get(), Pointers(arguments).data(),
                                   Pointers(environment).data());
  if (failed != 0) {
    return MakeError(Reason::kInternal, program.string() + ": cannot start: " + std::strerror(failed));
  }
  return TokendProcess(pid, std::move(ours));
}

void TokendProcess::WaitForEnd() {
  for (auto waited = std::chrono::milliseconds(0); pid_ >= 0 && waited < kEndsByItself; waited += kLook) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      return;
    }
    std::this_thread::sleep_for(kLook);
  }
}

TokendProcess::~TokendProcess() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace hallmark::tokens
