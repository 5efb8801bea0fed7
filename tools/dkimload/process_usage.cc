#include "tools/dkimload/process_usage.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

namespace hallmark::load {
namespace {

std::string ProcFile(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

std::chrono::microseconds FromTicks(std::int64_t ticks) {
  return std::chrono::microseconds(ticks * 1'000'000 / ::sysconf(_SC_CLK_TCK));
}

}  // namespace

std::optional<CpuTime> ReadCpuTime(pid_t pid) {
  std::ifstream file(ProcFile(pid, "stat"));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The second field is the program's name in parentheses, which may hold blanks and parentheses itself.
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  constexpr int kBeforeUser = 11;  // fields 3 to 13 of proc(5)
  std::string skipped;
  for (int i = 0; i < kBeforeUser; ++i) fields >> skipped;
  std::int64_t user = 0, system = 0;
  if (!(fields >> user >> system)) return std::nullopt;
  return CpuTime{FromTicks(user), FromTicks(system)};
}

std::optional<Memory> ReadMemory(pid_t pid) {
  std::ifstream file(ProcFile(pid, "status"));
  std::optional<Memory> memory;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string key;
    std::int64_t kib = 0;
    fields >> key >> kib;
    if (key != "VmRSS:" && key != "VmHWM:") continue;
    if (!memory) memory.emplace();
    (key == "VmRSS:" ? memory->resident_kib : memory->peak_kib) = kib;
  }
  return memory;
}

}  // namespace hallmark::load
