#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string_view>

#include "firmware/runtime/file.h"
#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// The mode of a file that is made anew: what the umask leaves of 0666. Not beside other threads that make files.
mode_t NewFileMode();

// A file, for its owner alone unless another mode is given, that is there under its name only when all of it is,
// durably; what is there under that name stays. Removes what it has where it goes without Keep(). One thread.
class NewFile {
 public:
  explicit NewFile(std::filesystem::path path, mode_t mode = 0600) : path_(std::move(path)), mode_(mode) {}
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  Answer<void> Begin();
  Answer<void> Write(std::string_view octets);
  Answer<void> Keep();
  // After Keep(): removes it again, but not what has come in its place since.
  void TakeBack();

 private:
  Answer<void> Fail(const char* doing) const;
  std::filesystem::path Folder() const;
  const std::filesystem::path path_;
  const mode_t mode_;
  std::string part_;  // where it is meanwhile; empty: it has no name
  FileDescriptor file_;
};

// A whole NewFile of the umask's mode.
Answer<void> WriteNewFile(const std::filesystem::path& path, std::string_view content);

}  // namespace hallmark::ctl
