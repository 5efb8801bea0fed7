#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "firmware/runtime/file.h"
#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// One message, read in pieces and as often as needed: first to sign it, then to write it. What cannot be read twice
// (standard input, a pipe) is kept in a temporary file without a name. Const methods: any thread.
class MessageSource {
 public:
  // `path` "-" is standard input.
  static Answer<MessageSource> Open(const std::string& path);

  // Octets, as of the opening.
  std::uint64_t size() const { return size_; }

  // Calls `take` with the next piece of at most `piece` octets until the end, or until `take` returns false.
  Answer<void> ForEach(std::size_t piece, const std::function<bool(std::string_view)>& take) const;

  // The whole message in memory.
  Answer<std::string> ReadAll() const;

 private:
  MessageSource(FileDescriptor file, std::uint64_t size, std::string path)
      : file_(std::move(file)), size_(size), path_(std::move(path)) {}
  FileDescriptor file_;
  std::uint64_t size_;
  std::string path_;
};

}  // namespace hallmark::ctl
