#include "firmware/provision/files.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "firmware/runtime/file.h"

namespace hallmark::provision {

namespace fs = std::filesystem;

Error IoError(const fs::path& path, const std::string& what) {
  return MakeError(Reason::kIoFailed, path.string() + ": cannot " + what + ": " + std::strerror(errno));
}

Status MakeFolder(const fs::path& path, mode_t mode) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed) return MakeError(Reason::kIoFailed, path.string() + ": cannot be made: " + failed.message());
  return ::chmod(path.c_str(), mode) == 0 ? Ok() : Status(IoError(path, "set the mode"));
}

Status Put(const fs::path& path, std::string_view content, mode_t mode) {
  std::error_code failed;
  fs::create_directories(path.parent_path(), failed);
  if (failed)
    return MakeError(Reason::kIoFailed, path.parent_path().string() + ": cannot be made: " + failed.message());
  return WriteFileAtomically(path, content, mode);
}

Status Remove(const fs::path& path) {
  std::error_code failed;
  fs::remove_all(path, failed);
  return failed ? Status(MakeError(Reason::kIoFailed, path.string() + ": cannot be removed: " + failed.message()))
                : Ok();
}

}  // namespace hallmark::provision
