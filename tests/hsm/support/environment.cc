#include "tests/hsm/support/environment.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace hallmark::test {
namespace {

namespace fs = std::filesystem;

void Write(const fs::path& path, const std::string& content) {
  // Renamed into place: a reader sees the old rules or the new ones.
  const fs::path next = path.string() + ".next";
  std::ofstream(next) << content;
  fs::permissions(next, fs::perms::owner_read | fs::perms::owner_write);
  fs::rename(next, path);
}

fs::path FirstThatExists(std::initializer_list<const char*> paths) {
  for (const char* path : paths) {
    if (fs::exists(path)) return path;
  }
  throw std::runtime_error("SoftHSM is not installed");
}

}  // namespace

HsmEnvironment::HsmEnvironment(bool token) {
  std::string pattern = (fs::temp_directory_path() / "hallmark-hsm-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary directory");
  directory_ = pattern;
  fs::create_directory(directory_ / "tokens");
  Write(directory_ / "softhsm2.conf", "directories.tokendir = " + (directory_ / "tokens").string() +
                                          "\nobjectstore.backend = file\nlog.level = ERROR\n");
  WritePin(kPin);
  Write(directory_ / "so-pin", "91827364\n");
  if (token) InitToken();
}

HsmEnvironment::~HsmEnvironment() {
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

std::string HsmEnvironment::InitToken(const std::string& label, const fs::path& module) {
  const Ran run =
      RunProgram({TokendProgram().string(), "init-token", "--module",
                  (module.empty() ? softhsm_module() : module).string(), "--token-label", label, "--pin-source",
                  (directory_ / "pin").string(), "--so-pin-source", (directory_ / "so-pin").string()},
                 Variables());
  if (run.exit_code != 0) throw std::runtime_error("tokend init-token failed: " + run.output);
  return run.output;
}

void HsmEnvironment::HideTokens() {
  fs::rename(directory_ / "tokens", directory_ / "hidden");
  fs::create_directory(directory_ / "tokens");
}

void HsmEnvironment::ShowTokens() {
  fs::remove_all(directory_ / "tokens");
  fs::rename(directory_ / "hidden", directory_ / "tokens");
}

void HsmEnvironment::WritePin(const std::string& pin) { Write(directory_ / "pin", pin + "\n"); }
void HsmEnvironment::WriteFaults(const std::string& rules) { Write(directory_ / "faults", rules); }

std::size_t HsmEnvironment::CountCalls(const std::string& function) const {
  std::ifstream log(directory_ / "faults.log");
  std::size_t count = 0;
  for (std::string line; std::getline(log, line);) count += line == function ? 1 : 0;
  return count;
}

fs::path HsmEnvironment::softhsm_module() const {
  return FirstThatExists({"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"});
}
fs::path HsmEnvironment::faulty_module() const {
  return fs::path(HALLMARK_BIN_DIR) / ".." / "tests" / "libfaulty_pkcs11.so";
}

std::string HsmEnvironment::uri() const {
  return std::string("pkcs11:token=") + kTokenLabel + "?pin-source=file:" + (directory_ / "pin").string();
}

std::vector<std::string> HsmEnvironment::Variables() const {
  std::vector<std::string> variables = {"SOFTHSM2_CONF=" + (directory_ / "softhsm2.conf").string(),
                                        "FAULTY_PKCS11_MODULE=" + softhsm_module().string(),
                                        "FAULTY_PKCS11_CONTROL=" + (directory_ / "faults").string()};
  for (const char* name : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"}) {
    const char* value = std::getenv(name);
    std::string options = value == nullptr ? "" : value;
    // A thread in a hung module call cannot be joined when tokend ends.
    if (std::string(name) == "TSAN_OPTIONS") options += ":report_thread_leaks=0";
    if (!options.empty()) variables.push_back(std::string(name) + "=" + options);
  }
  return variables;
}

Ran RunProgram(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  std::vector<std::string> arguments = command, variables = environment;
  variables.push_back("PATH=/usr/local/bin:/usr/bin:/bin");
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> out;
    for (std::string& string : strings) out.push_back(string.data());
    out.push_back(nullptr);
    return out;
  };
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, arguments[0].c_str(), &actions, nullptr, pointers(arguments).data(),
                                    pointers(variables).data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  Ran run;
  std::array<char, 4096> buffer{};
  for (ssize_t count = 0; (count = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    run.output.append(buffer.data(), static_cast<std::size_t>(count));
  }
  ::close(ends[0]);
  if (failed != 0) throw std::runtime_error("cannot start " + command[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

fs::path TokendProgram() {
  // Another one where the integration tests have another one too.
  const char* build = std::getenv("HALLMARK_BUILD");
  return (build == nullptr ? fs::path(HALLMARK_BIN_DIR) : fs::path(build) / "bin") / "tokend";
}

}  // namespace hallmark::test
