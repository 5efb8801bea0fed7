#include "tools/dkimctl/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hallmark::ctl {
namespace {

// rename(2) that replaces nothing; where the file system cannot (NFS), a link and the end of the other name; where it
// has no links either (FAT by FUSE, shared folders), after one more look.
bool MoveToFreeName(const std::string& from, const std::filesystem::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL) return false;
  if (::link(from.c_str(), to.c_str()) == 0) return ::unlink(from.c_str()) == 0;
  const bool has_none = errno == EPERM || errno == ENOSYS || errno == EOPNOTSUPP;
  return has_none && ::access(to.c_str(), F_OK) != 0 && ::rename(from.c_str(), to.c_str()) == 0;
}

// linkat(2) replaces nothing.
bool Name(const FileDescriptor& file, const std::filesystem::path& to) {
  const std::string self = "/proc/self/fd/" + std::to_string(file.get());
  return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

}  // namespace

mode_t NewFileMode() {
  const mode_t mask = ::umask(0);  // there is no call that only reads it
  ::umask(mask);
  return 0666 & ~mask;
}

NewFile::~NewFile() {
  if (file_ && !part_.empty()) ::unlink(part_.c_str());
}

Answer<void> NewFile::Fail(const char* doing) const {
  return Failed(path_.string() + ": cannot " + doing + ": " + std::strerror(errno));
}

std::filesystem::path NewFile::Folder() const { return path_.has_parent_path() ? path_.parent_path() : "."; }

Answer<void> NewFile::Begin() {
  std::error_code failed;
  if (std::filesystem::exists(path_, failed)) return Failed(path_.string() + ": exists; name a new file");
  // Without a name, where the file system can: then nothing is left where the program is ended.
  file_ = FileDescriptor(::open(Folder().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file_) return {};
  part_ = path_.string() + ".XXXXXX";
  file_ = FileDescriptor(::mkostemp(part_.data(), O_CLOEXEC));
  return file_ ? Answer<void>() : Fail("create");
}

Answer<void> NewFile::Write(std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t count = ::write(file_.get(), octets.data(), octets.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Fail("write");
    octets.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Answer<void> NewFile::Keep() {
  if (::fchmod(file_.get(), mode_) != 0) return Fail("set the mode of");
  if (::fsync(file_.get()) != 0) return Fail("make durable");
  if (!(part_.empty() ? Name(file_, path_) : MoveToFreeName(part_, path_))) return Fail("put in place");
  part_.clear();
  const Status synced = SyncFolder(Folder());
  if (!synced) return FromError(synced.error());
  return {};
}

void NewFile::TakeBack() {
  struct stat own {};
  struct stat there {};
  const bool same = ::fstat(file_.get(), &own) == 0 && ::lstat(path_.c_str(), &there) == 0 &&
                    own.st_dev == there.st_dev && own.st_ino == there.st_ino;
  if (same) ::unlink(path_.c_str());
}

Answer<void> WriteNewFile(const std::filesystem::path& path, std::string_view content) {
  NewFile file(path, NewFileMode());
  auto done = file.Begin();
  if (done) done = file.Write(content);
  if (done) done = file.Keep();
  return done;
}

}  // namespace hallmark::ctl
