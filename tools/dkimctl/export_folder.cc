#include "tools/dkimctl/export_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace hallmark::ctl {
namespace {

namespace fs = std::filesystem;

// Absolute, and without a final slash.
fs::path Whole(const fs::path& folder) {
  std::error_code ignored;
  const fs::path path = fs::absolute(folder, ignored).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

// The files have these names and no others: what a server says must not name a place elsewhere.
bool IsExportName(const std::string& name) {
  if (name == "checkpoints" || name == "verifier-key") return true;
  if (!name.starts_with("segments/")) return false;
  const std::string file = name.substr(9);
  return file.size() >= 24 && file.find_first_not_of("0123456789") == 20 &&
         (file.substr(20) == ".seg" || file.substr(20) == ".pruned");
}

}  // namespace

ExportFolder::ExportFolder(const fs::path& folder) : folder_(Whole(folder)), part_(folder_.string() + ".part") {}

ExportFolder::~ExportFolder() {
  std::error_code ignored;
  if (made_) fs::remove_all(part_, ignored);
}

Answer<void> ExportFolder::Fail(const fs::path& path, const char* doing) const {
  return Failed(path.string() + ": cannot " + doing + ": " + std::strerror(errno));
}

Answer<void> ExportFolder::Begin() {
  std::error_code failed;
  if (fs::exists(folder_, failed) && !fs::is_empty(folder_, failed)) {
    return Failed(folder_.string() + " is not empty; name a folder that does not exist");
  }
  fs::create_directories(folder_.parent_path(), failed);
  if (failed) return Failed(folder_.parent_path().string() + ": cannot create: " + failed.message());
  if (::mkdir(part_.c_str(), 0777) != 0) {
    if (errno != EEXIST) return Fail(part_, "create");
    return Failed(part_.string() + ": is of an export that goes on, or did not end; remove it where none goes on");
  }
  made_ = true;
  return ::mkdir((part_ / "segments").c_str(), 0777) == 0 ? Answer<void>() : Fail(part_ / "segments", "create");
}

Answer<void> ExportFolder::Write(const std::string& name, std::string_view octets) {
  const fs::path path = part_ / name;
  if (name != name_) {
    if (!IsExportName(name)) return Failed("the server names the file " + name);
    auto done = EndFile();
    if (!done) return done;
    file_ = FileDescriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!file_) return Fail(path, "create");
    name_ = name;
  }
  while (!octets.empty()) {
    const ssize_t count = ::write(file_.get(), octets.data(), octets.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Fail(path, "write");
    octets.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Answer<void> ExportFolder::EndFile() {
  if (name_.empty()) return {};
  if (::fsync(file_.get()) != 0) return Fail(part_ / name_, "make durable");
  file_.Reset();
  name_.clear();
  return {};
}

Answer<void> ExportFolder::Keep() {
  auto done = EndFile();
  if (!done) return done;
  for (const fs::path& path : {part_ / "segments", part_}) {
    const Status synced = SyncFolder(path);
    if (!synced) return FromError(synced.error());
  }
  // Takes the place of an empty folder, and of nothing else (rename(2)).
  if (::rename(part_.c_str(), folder_.c_str()) != 0) return Fail(folder_, "put in place");
  made_ = false;
  const Status synced = SyncFolder(folder_.parent_path());
  if (!synced) return FromError(synced.error());
  return {};
}

}  // namespace hallmark::ctl
