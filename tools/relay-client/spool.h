#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "firmware/runtime/file.h"

namespace hallmark::relay {

// Keeps a message until it is known what becomes of it: in memory while it is small, then in a temporary file without a
// name (in $TMPDIR, else /tmp). Not thread-safe.
class Spool {
 public:
  // kIoFailed when the temporary file cannot be made or written.
  Status Append(std::string_view octets);
  // Gives all of it to `take`, in pieces, until that fails. kIoFailed.
  Status ForEach(const std::function<Status(std::string_view)>& take) const;

 private:
  Status MoveToFile();
  std::string memory_;  // empty once there is a file
  FileDescriptor file_;
};

// All of `octets`, however often the system must be asked. kIoFailed.
Status WriteAll(int fd, std::string_view octets);

}  // namespace hallmark::relay
