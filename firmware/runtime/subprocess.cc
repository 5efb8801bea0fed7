#include "firmware/runtime/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "firmware/runtime/file.h"

extern char** environ;

namespace hallmark {
namespace {

constexpr std::size_t kMostOutput = 1u << 20;

struct Pipe {
  FileDescriptor read, write;
  bool Open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read = FileDescriptor(ends[0]);
    write = FileDescriptor(ends[1]);
    return true;
  }
};

// "K=V" of this process with `changes` on top.
std::vector<std::string> Environment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> lines;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string line = *entry;
    if (!changes.contains(line.substr(0, line.find('=')))) lines.push_back(line);
  }
  for (const auto& [key, value] : changes) lines.push_back(key + "=" + value);
  return lines;
}

std::vector<char*> Pointers(std::vector<std::string>& lines) {
  std::vector<char*> pointers;
  for (std::string& line : lines) pointers.push_back(line.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Spawns with standard output and error in the pipes; an errno, 0 when it went well.
int Spawn(std::vector<std::string> arguments, std::vector<std::string> environment, const Pipe& out, const Pipe& err,
          pid_t& pid) {
  posix_spawn_file_actions_t actions;
  if (::posix_spawn_file_actions_init(&actions) != 0) return ENOMEM;
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.write.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err.write.get(), STDERR_FILENO);
  const std::string program = arguments.front();
  const int error =
      ::posix_spawn(&pid, program.c_str(), &actions, nullptr, Pointers(arguments).data(), Pointers(environment).data());
  ::posix_spawn_file_actions_destroy(&actions);
  return error;
}

// Takes what is there; false at the end.
bool Drain(int fd, std::string& text) {
  char buffer[4096];
  const ssize_t count = ::read(fd, buffer, sizeof buffer);
  if (count < 0) return errno == EINTR;
  if (text.size() < kMostOutput) text.append(buffer, static_cast<std::size_t>(count));
  return count > 0;
}

// Reads both until they end; false when the time is over first.
bool Collect(const Pipe& out, const Pipe& err, std::chrono::seconds limit, ProgramResult& result) {
  const auto end = std::chrono::steady_clock::now() + limit;
  pollfd fds[] = {{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (::poll(fds, 2, static_cast<int>(left.count())) < 0 && errno != EINTR) return false;
    if (fds[0].revents != 0 && !Drain(fds[0].fd, result.out)) fds[0].fd = -1;
    if (fds[1].revents != 0 && !Drain(fds[1].fd, result.err)) fds[1].fd = -1;
  }
  return true;
}

}  // namespace

Result<ProgramResult> RunProgram(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                                 const std::map<std::string, std::string>& environment, std::chrono::seconds limit) {
  Pipe out, err;
  if (!out.Open() || !err.Open())
    return MakeError(Reason::kIoFailed, std::string("cannot make a pipe: ") + std::strerror(errno));
  std::vector<std::string> line{program.string()};
  line.insert(line.end(), arguments.begin(), arguments.end());
  pid_t pid = -1;
  const int error = Spawn(std::move(line), Environment(environment), out, err, pid);
  if (error != 0) return MakeError(Reason::kIoFailed, program.string() + ": cannot start: " + std::strerror(error));
  out.write.Reset();
  err.write.Reset();
  ProgramResult result;
  const bool ended = Collect(out, err, limit, result);
  if (!ended) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended)
    return MakeError(Reason::kIoFailed,
                     program.string() + " did not end within " + std::to_string(limit.count()) + " s");
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

}  // namespace hallmark
