#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string_view>

#include "firmware/runtime/file.h"
#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// The mode of a file that is made anew: what the umask leaves of 0666. Not beside other threads that make files.
mode_t NewFileMode();

// A file, for its owner alone, that is there under its name only when all of it is, durably; what is there under that
// name stays. Removes what it has where it goes without Keep(). One thread.
class NewFile {
 public:
  explicit NewFile(std::filesystem::path path) : path_(std::move(path)) {}
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  Answer<void> Begin();
  Answer<void> Write(std::string_view octets);
  Answer<void> Keep();

 private:
  Answer<void> Fail(const char* doing) const;
  std::filesystem::path Folder() const;
  const std::filesystem::path path_;
  std::string part_;  // where it is meanwhile; empty: it has no name
  FileDescriptor file_;
};

}  // namespace hallmark::ctl
