#include "tools/dkimctl/message_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace hallmark::ctl {
namespace {

constexpr std::size_t kPiece = 256u << 10;

Failure IoFailure(const std::string& path, const char* what) {
  return Failed((path == "-" ? "standard input" : path) + ": cannot " + what + ": " + std::strerror(errno));
}

ssize_t ReadSome(int fd, char* buffer, std::size_t size) {
  ssize_t count;
  do {
    count = ::read(fd, buffer, size);
  } while (count < 0 && errno == EINTR);
  return count;
}

FileDescriptor TemporaryFile() {
  std::error_code failed;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(failed);
  if (failed) {  // and not into the folder that happens to be the current one
    errno = failed.value();
    return FileDescriptor();
  }
  std::string pattern = (folder / "dkimctl.XXXXXX").string();
  FileDescriptor file(::mkostemp(pattern.data(), O_CLOEXEC));
  if (file) ::unlink(pattern.c_str());
  return file;
}

// Copies all of `from` to a temporary file.
Answer<FileDescriptor> Keep(int from, const std::string& path) {
  FileDescriptor to = TemporaryFile();
  if (!to) return IoFailure(path, "make a temporary file");
  std::string buffer(kPiece, '\0');
  while (true) {
    const ssize_t count = ReadSome(from, buffer.data(), buffer.size());
    if (count < 0) return IoFailure(path, "read");
    if (count == 0) return to;
    for (ssize_t done = 0; done < count;) {
      const ssize_t written = ::write(to.get(), buffer.data() + done, static_cast<std::size_t>(count - done));
      if (written < 0 && errno != EINTR) return IoFailure(path, "keep in a temporary file");
      if (written > 0) done += written;
    }
  }
}

}  // namespace

Answer<MessageSource> MessageSource::Open(const std::string& path) {
  FileDescriptor file(path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                  : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return IoFailure(path, "open");
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return IoFailure(path, "read");
  if (S_ISDIR(facts.st_mode)) return Failed(path + ": is a folder, expected a message");
  // Standard input may stand anywhere in its file: it is copied from there on.
  if (!S_ISREG(facts.st_mode) || path == "-") {
    auto kept = Keep(file.get(), path);
    if (!kept) return kept.error();
    file = std::move(*kept);
    if (::fstat(file.get(), &facts) != 0) return IoFailure(path, "read");
  }
  return MessageSource(std::move(file), static_cast<std::uint64_t>(facts.st_size), path);
}

Answer<void> MessageSource::ForEach(std::size_t piece, const std::function<bool(std::string_view)>& take) const {
  std::string buffer(piece, '\0');
  off_t offset = 0;
  while (true) {
    const ssize_t count = ::pread(file_.get(), buffer.data(), buffer.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return IoFailure(path_, "read");
    if (count == 0 || !take(std::string_view(buffer).substr(0, static_cast<std::size_t>(count)))) return {};
    offset += count;
  }
}

Answer<std::string> MessageSource::ReadAll() const {
  std::string message;
  message.reserve(size_);
  const auto read = ForEach(kPiece, [&](std::string_view piece) {
    message += piece;
    return true;
  });
  if (!read) return read.error();
  return message;
}

}  // namespace hallmark::ctl
