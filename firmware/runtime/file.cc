#include "firmware/runtime/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace hallmark {
namespace {

Error IoError(const std::filesystem::path& path, const char* what) {
  const Reason reason = errno == ENOENT ? Reason::kNotFound : Reason::kIoFailed;
  return MakeError(reason, path.string() + ": cannot " + what + ": " + std::strerror(errno));
}

Status WriteAll(int fd, std::string_view content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return IoError(path, "write");
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return Ok();
}

}  // namespace

Result<std::string> ReadFile(const std::filesystem::path& path, std::size_t most) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return IoError(path, "open");
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return IoError(path, "read");
  if (S_ISDIR(facts.st_mode)) return MakeError(Reason::kIoFailed, path.string() + ": is a directory, expected a file");
  const auto too_large = [&] {
    return MakeError(Reason::kInvalidArgument, path.string() + ": larger than " + std::to_string(most) + " octets");
  };
  const std::size_t size = facts.st_size > 0 ? static_cast<std::size_t>(facts.st_size) : 0;
  if (size > most) return too_large();
  std::string content;
  content.reserve(size);
  char buffer[65536];
  while (true) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return IoError(path, "read");
    if (count == 0) return content;
    if (content.size() + static_cast<std::size_t>(count) > most) return too_large();
    content.append(buffer, static_cast<std::size_t>(count));
  }
}

Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  std::string temporary = path.string() + ".XXXXXX";
  FileDescriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) return IoError(path, "create");
  Status written = WriteAll(file.get(), content, path);
  if (written && ::fchmod(file.get(), mode) != 0) written = IoError(path, "set the mode of");
  if (written && ::fsync(file.get()) != 0) written = IoError(path, "sync");
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = IoError(path, "replace");
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return SyncFolder(path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
}

Status SyncFolder(const std::filesystem::path& folder) {
  const FileDescriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) return IoError(folder, "sync");
  return Ok();
}

}  // namespace hallmark
