#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "firmware/runtime/file.h"
#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// A copy of the ledger's files, in FOLDER.part until all of it is there, durably: what has the name FOLDER is whole.
// Removes what it has where it goes without Keep(). One thread.
class ExportFolder {
 public:
  explicit ExportFolder(const std::filesystem::path& folder);
  ~ExportFolder();
  ExportFolder(const ExportFolder&) = delete;
  ExportFolder& operator=(const ExportFolder&) = delete;

  // Fails where FOLDER has something in it, and where FOLDER.part is there.
  Answer<void> Begin();
  // The next octets of the file `name`. A file is written from its beginning to its end, and then another one.
  Answer<void> Write(const std::string& name, std::string_view octets);
  Answer<void> Keep();

 private:
  Answer<void> EndFile();
  Answer<void> Fail(const std::filesystem::path& path, const char* doing) const;
  const std::filesystem::path folder_, part_;
  bool made_ = false;
  std::string name_;  // of the file that is being written; empty: none is
  FileDescriptor file_;
};

}  // namespace hallmark::ctl
