#include "signerd/ledger/ledger_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace hallmark::ledger {
namespace {

Error Failed(const std::filesystem::path& path, const char* doing) {
  return MakeError(Reason::kIoFailed, path.string() + ": cannot " + doing + ": " + std::strerror(errno));
}

class FileOnDisk final : public LedgerFile {
 public:
  FileOnDisk(std::filesystem::path path, FileDescriptor file) : path_(std::move(path)), file_(std::move(file)) {}

  Status WriteAt(std::uint64_t offset, std::string_view octets) override {
    while (!octets.empty()) {
      const ssize_t written = ::pwrite(file_.get(), octets.data(), octets.size(), static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return Failed(path_, "write");
      offset += static_cast<std::uint64_t>(written);
      octets.remove_prefix(static_cast<std::size_t>(written));
    }
    return Ok();
  }
  Status Sync() override {
    if (::fdatasync(file_.get()) != 0) return Failed(path_, "sync");
    return Ok();
  }
  Status Truncate(std::uint64_t octets) override {
    if (::ftruncate(file_.get(), static_cast<off_t>(octets)) != 0) return Failed(path_, "truncate");
    return Ok();
  }
  Status Reserve(std::uint64_t offset, std::uint64_t octets) override {
    const int done =
        ::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(octets));
    // A file system that can't promise room is taken at its word when it is written to.
    if (done != 0 && errno != EOPNOTSUPP) return Failed(path_, "reserve room in");
    return Ok();
  }

 private:
  const std::filesystem::path path_;
  const FileDescriptor file_;
};

}  // namespace

Result<std::unique_ptr<LedgerFile>> OpenOnDisk(const std::filesystem::path& path) {
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return Failed(path, "open");
  const Status synced = SyncFolder(path.parent_path());
  if (!synced) return synced.error();
  return std::make_unique<FileOnDisk>(path, std::move(file));
}

}  // namespace hallmark::ledger
