#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "firmware/runtime/file.h"
#include "firmware/runtime/result.h"

namespace hallmark::backup {

// The file of a CMS AuthEnvelopedData, taken apart without holding it in memory, which is what OpenSSL's own parser
// would do: what stands around the encrypted content, as a message with detached content, and that content in pieces.
// It knows the one shape that OpenSSL streams (everything around the content of indefinite length) and refuses others.
// Not thread-safe.
class SealedFile {
 public:
  // kNotFound, kIoFailed; kInvalidArgument: not such a file, or one that was cut off.
  static Result<SealedFile> Open(const std::filesystem::path& path);

  // BER, without the content.
  const std::string& envelope() const { return envelope_; }
  // The next octets of the content, at most `most`; 0 at its end.
  Result<std::size_t> Read(char* out, std::size_t most);

 private:
  struct Element {
    std::uint8_t tag = 0;
    bool indefinite = false;
    std::uint64_t begin = 0, content = 0, length = 0;
    std::uint64_t end() const { return content + length; }
  };
  SealedFile(FileDescriptor file, std::string name, std::uint64_t octets)
      : file_(std::move(file)), name_(std::move(name)), octets_(octets) {}
  Result<std::string> Octets(std::uint64_t at, std::uint64_t count) const;
  Result<Element> At(std::uint64_t at) const;
  // At() where it must have this tag.
  Result<Element> Expect(std::uint64_t at, std::uint8_t tag, bool indefinite) const;
  Status FindContent();
  Error NoBackup(const char* what) const;

  FileDescriptor file_;
  std::string name_;
  std::uint64_t octets_;
  std::string envelope_;
  std::uint64_t next_ = 0, piece_left_ = 0;  // of the content
};

}  // namespace hallmark::backup
