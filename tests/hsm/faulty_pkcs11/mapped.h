#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace faulty {

// A file whose octets are a T, shared with whoever maps or reads it; zeros where it is new. Never unmapped: a call that
// hangs may still look at it.
template <class T>
T* MapFile(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ::ftruncate(file, sizeof(T)) != 0) std::abort();
  void* mapped = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (mapped == MAP_FAILED) std::abort();
  return static_cast<T*>(mapped);
}

}  // namespace faulty
