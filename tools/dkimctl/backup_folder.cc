#include "tools/dkimctl/backup_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "firmware/runtime/file.h"
#include "signerd/backup/envelope.h"
#include "signerd/backup/names.h"
#include "tools/dkimctl/command.h"

namespace hallmark::ctl {
namespace {

constexpr char kRestoring[] = "restoring";  // signerd does not start beside it

Error SystemError(const std::filesystem::path& path, const char* doing) {
  return MakeError(Reason::kIoFailed, path.string() + ": cannot " + doing + ": " + std::strerror(errno));
}

// Writes the files of an archive below a folder, for the owner of it.
class Extractor {
 public:
  explicit Extractor(std::filesystem::path folder) : folder_(std::move(folder)) {}

  backup::ArchiveHandler Handler() {
    return {[this](const std::string& name, std::uint64_t) { return Begin(name); },
            [this](std::string_view octets) { return Write(octets); }, [this] { return End(); }};
  }

 private:
  Status Begin(const std::string& name) {
    if (!backup::IsName(name)) {
      return MakeError(Reason::kInvalidArgument, "the backup has a file that none has: " + name);
    }
    path_ = folder_ / name;
    std::error_code failed;
    std::filesystem::create_directories(path_.parent_path(), failed);
    file_ = FileDescriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    return file_ ? Ok() : Status(SystemError(path_, "create"));
  }
  Status Write(std::string_view octets) {
    while (!octets.empty()) {
      const ssize_t count = ::write(file_.get(), octets.data(), octets.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return SystemError(path_, "write");
      octets.remove_prefix(static_cast<std::size_t>(count));
    }
    return Ok();
  }
  Status End() {
    if (::fsync(file_.get()) != 0) return SystemError(path_, "make durable");
    file_.Reset();
    return Ok();
  }

  const std::filesystem::path folder_;
  std::filesystem::path path_;
  FileDescriptor file_;
};

// What root unpacks belongs to whom the folder does: to signerd's user, that is.
Status GiveTo(const std::filesystem::path& tree, const std::filesystem::path& folder) {
  struct stat owner {};
  if (::geteuid() != 0 || ::stat(folder.c_str(), &owner) != 0 || owner.st_uid == 0) return Ok();
  if (::lchown(tree.c_str(), owner.st_uid, owner.st_gid) != 0) return SystemError(tree, "give to the folder's owner");
  if (!std::filesystem::is_directory(tree)) return Ok();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(tree)) {
    if (::lchown(entry.path().c_str(), owner.st_uid, owner.st_gid) != 0) {
      return SystemError(entry.path(), "give to the folder's owner");
    }
  }
  return Ok();
}

Status SyncFolders(const std::filesystem::path& tree) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(tree)) {
    if (!entry.is_directory()) continue;
    const Status synced = SyncFolder(entry.path());
    if (!synced) return synced;
  }
  return SyncFolder(tree);
}

}  // namespace

BackupFolder::BackupFolder(std::filesystem::path folder, bool made)
    : folder_(std::move(folder)), path_(folder_ / kRestoring), made_(made) {}

BackupFolder::BackupFolder(BackupFolder&& other) noexcept
    : folder_(std::move(other.folder_)),
      path_(std::move(other.path_)),
      made_(other.made_),
      kept_(std::exchange(other.kept_, true)) {}

BackupFolder::~BackupFolder() {
  if (kept_) return;
  std::error_code failed;
  std::filesystem::remove_all(path_, failed);
  if (failed) {
    Complain(path_.string() + ": has what was decrypted of the backup, secrets among it, and cannot be removed: " +
             failed.message() + "; remove it yourself");
  } else if (made_) {
    std::filesystem::remove(folder_, failed);  // empty, so that nothing is lost where it stays
  }
}

Answer<BackupFolder> BackupFolder::Unpack(const std::filesystem::path& backup, const std::filesystem::path& key,
                                          const std::filesystem::path& folder, const StopSignals& stop) {
  std::error_code failed;
  const bool made = !std::filesystem::exists(folder, failed);
  if (made && ::mkdir(folder.c_str(), 0700) != 0) return FromError(SystemError(folder, "create"));
  if (!made && (!std::filesystem::is_directory(folder, failed) || !std::filesystem::is_empty(folder, failed))) {
    return Failed(folder.string() + ": is not an empty folder; nothing is written over what is there");
  }
  BackupFolder unpacked(folder, made);
  if (::mkdir(unpacked.path_.c_str(), 0700) != 0) return FromError(SystemError(unpacked.path_, "create"));
  Extractor extractor(unpacked.path_);
  backup::ArchiveReader archive(extractor.Handler());
  Status done = backup::Unseal(backup, key, [&](std::string_view octets) {
    const Status on = stop.GoOn();
    return on ? archive.Take(octets) : on;
  });
  if (done) done = archive.Finish();
  if (!done) return FromError(done.error());
  return unpacked;
}

Answer<void> BackupFolder::Keep(bool only_state) {
  std::error_code failed;
  for (const auto& path : {path_ / backup::kManifest, path_ / "config"}) {
    if (only_state) std::filesystem::remove_all(path, failed);
    if (failed) return Failed(path.string() + ": cannot be left out: " + failed.message());
  }
  Status done = SyncFolders(path_);
  if (done) done = GiveTo(path_, folder_);
  if (!done) return FromError(done.error());
  kept_ = true;  // from here on a failure leaves it, and signerd does not start with half of it
  std::vector<std::filesystem::path> entries;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) entries.push_back(entry.path());
  for (const auto& path : entries) {
    std::filesystem::rename(path, folder_ / path.filename(), failed);
    if (failed) return Failed(path.string() + ": cannot be moved to " + folder_.string() + ": " + failed.message());
  }
  std::filesystem::remove(path_, failed);
  if (failed) return Failed(path_.string() + ": cannot be removed: " + failed.message());
  done = SyncFolder(folder_);
  if (!done) return FromError(done.error());
  path_ = folder_;
  return {};
}

}  // namespace hallmark::ctl
