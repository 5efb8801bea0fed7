#include "tools/relay-client/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace hallmark::relay {
namespace {

constexpr std::size_t kInMemory = 1u << 20;
constexpr std::size_t kPiece = 256u << 10;

Error IoFailure(const char* what) {
  return MakeError(Reason::kIoFailed, std::string(what) + ": " + std::strerror(errno));
}

}  // namespace

Status WriteAll(int fd, std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t written = ::write(fd, octets.data(), octets.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return IoFailure("cannot write");
    octets.remove_prefix(static_cast<std::size_t>(written));
  }
  return Ok();
}

Status Spool::Append(std::string_view octets) {
  if (!file_ && memory_.size() + octets.size() <= kInMemory) {
    memory_.append(octets);
    return Ok();
  }
  if (!file_) {
    if (const Status moved = MoveToFile(); !moved) return moved;
  }
  return WriteAll(file_.get(), octets);
}

Status Spool::MoveToFile() {
  std::error_code failed;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(failed);
  if (failed) {  // and not into the folder that happens to be the current one
    errno = failed.value();
    return IoFailure("cannot make a temporary file");
  }
  std::string pattern = (folder / "dkim-sign.XXXXXX").string();
  file_ = FileDescriptor(::mkostemp(pattern.data(), O_CLOEXEC));
  if (!file_) return IoFailure("cannot make a temporary file");
  ::unlink(pattern.c_str());
  const Status written = WriteAll(file_.get(), memory_);
  memory_ = {};
  return written;
}

Status Spool::ForEach(const std::function<Status(std::string_view)>& take) const {
  if (!file_) return take(memory_);
  std::string buffer(kPiece, '\0');
  for (off_t offset = 0;;) {
    const ssize_t count = ::pread(file_.get(), buffer.data(), buffer.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return IoFailure("cannot read the temporary file");
    if (count == 0) return Ok();
    const Status taken = take(std::string_view(buffer).substr(0, static_cast<std::size_t>(count)));
    if (!taken) return taken;
    offset += count;
  }
}

}  // namespace hallmark::relay
