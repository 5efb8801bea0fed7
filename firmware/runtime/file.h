#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "firmware/runtime/result.h"

namespace hallmark {

// Owns one file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~FileDescriptor() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// The whole of a regular file. kNotFound, kIoFailed, or kInvalidArgument when it is larger than `most` octets.
Result<std::string> ReadFile(const std::filesystem::path& path, std::size_t most = 1u << 30);

// Replaces `path` so that a reader or a crash sees the old content or the new one, never a part. `mode` as for open(2).
Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content, mode_t mode = 0644);

// The names in `folder` survive a power cut from here on: what a rename or a new file put there.
Status SyncFolder(const std::filesystem::path& folder);

}  // namespace hallmark
