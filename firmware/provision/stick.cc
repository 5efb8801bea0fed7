#include "firmware/provision/stick.h"

#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "firmware/provision/configuration.h"
#include "firmware/runtime/file.h"

namespace hallmark::provision {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDevice = "/dev/disk/by-label/HALLMARK";

// The device for as long as it lives, or the folder that stands for it.
class Mounted {
 public:
  static Result<Mounted> Open(const fs::path& folder, const fs::path& mount_point, bool read_only) {
    if (!folder.empty()) return Mounted(folder, false);
    std::error_code failed;
    fs::create_directories(mount_point, failed);
    const unsigned long flags = MS_NODEV | MS_NOSUID | MS_NOEXEC | (read_only ? MS_RDONLY : 0);
    if (failed || ::mount(kDevice, mount_point.c_str(), "vfat", flags, "") != 0) {
      // Not kIoFailed: another stick, or this one put in again, may do.
      return MakeError(Reason::kNotFound, std::string("the stick cannot be mounted: ") +
                                              (failed ? failed.message() : std::strerror(errno)) +
                                              "; format it as FAT, with the label HALLMARK");
    }
    return Mounted(mount_point, true);
  }
  Mounted(Mounted&& other) noexcept : path_(std::move(other.path_)), mounted_(std::exchange(other.mounted_, false)) {}
  Mounted& operator=(Mounted&&) = delete;
  // Ends with what was written on the stick.
  ~Mounted() {
    if (mounted_) ::umount2(path_.c_str(), UMOUNT_NOFOLLOW);
  }
  const fs::path& path() const { return path_; }

 private:
  Mounted(fs::path path, bool mounted) : path_(std::move(path)), mounted_(mounted) {}
  fs::path path_;
  bool mounted_;
};

// What has this name may be another box's, and the only copy of its recovery key: "recovery.cms" becomes
// "recovery-1.cms".
Status KeepOther(const fs::path& path, std::string_view content) {
  const auto there = ReadFile(path, kMostOctets);
  if (!there) return there.error().reason == Reason::kNotFound ? Ok() : Status(there.error());
  if (*there == content) return Ok();
  std::error_code failed;
  for (int number = 1;; ++number) {
    const fs::path kept =
        path.parent_path() / (path.stem().string() + "-" + std::to_string(number) + path.extension().string());
    if (fs::exists(kept, failed)) continue;
    if (!failed) fs::rename(path, kept, failed);
    return failed ? Status(MakeError(Reason::kIoFailed, kept.string() + ": " + failed.message())) : Ok();
  }
}

}  // namespace

bool Stick::Present() const {
  std::error_code ignored;
  return fs::exists(folder_.empty() ? fs::path(kDevice) : folder_, ignored);
}

Result<std::string> Stick::Read() const {
  const auto mounted = Mounted::Open(folder_, mount_point_, true);
  if (!mounted) return mounted.error();
  auto content = ReadFile(mounted->path() / kFileName, 2 * kMostOctets);
  if (!content && content.error().reason == Reason::kNotFound) {
    return MakeError(Reason::kNotFound,
                     std::string("there is no ") + kFileName + " on the stick; make one with hallmark-provision pack");
  }
  return content;
}

Status Stick::Use(const std::function<Status(const fs::path& folder)>& use) const {
  if (!Present()) return MakeError(Reason::kNotFound, "there is no stick with the label HALLMARK");
  const auto mounted = Mounted::Open(folder_, mount_point_, true);
  return mounted ? use(mounted->path()) : Status(mounted.error());
}

Status Stick::Write(const std::map<std::string, std::string>& files) const {
  const auto mounted = Mounted::Open(folder_, mount_point_, false);
  if (!mounted) return mounted.error();
  for (const auto& [name, content] : files) {
    if (const Status kept = KeepOther(mounted->path() / name, content); !kept) return kept;
    if (const Status written = WriteFileAtomically(mounted->path() / name, content); !written) return written;
  }
  return Ok();
}

}  // namespace hallmark::provision
