#include "firmware/runtime/program.h"

namespace hallmark {

std::filesystem::path CompanionProgram(std::string_view name) {
  std::error_code ignored;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& path : {folder / name, folder.parent_path() / "sbin" / name}) {
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return folder.parent_path() / "libexec" / "hallmark" / name;
}

}  // namespace hallmark
