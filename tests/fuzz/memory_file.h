#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "check.h"

// A file for what reads one by its name. It is in no folder: libFuzzer may end by _Exit, and nothing would remove it.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view octets = {}) : file_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    path_ = "/proc/self/fd/" + std::to_string(file_);
    Write(octets);
  }
  ~MemoryFile() { ::close(file_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  // In place of what it holds.
  void Write(std::string_view octets) {
    Check(::ftruncate(file_, 0) == 0 &&
              ::pwrite(file_, octets.data(), octets.size(), 0) == static_cast<ssize_t>(octets.size()),
          "a file in memory");
  }
  const std::string& path() const { return path_; }

 private:
  int file_;
  std::string path_;
};
