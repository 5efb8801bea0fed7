#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "firmware/runtime/subprocess.h"

// A folder of the test's own, gone when it ends.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// Runs dkimctl of this build; the test fails when it cannot be started. HALLMARK_DIR is not handed on.
hallmark::ProgramResult Dkimctl(const std::vector<std::string>& arguments);
// As above by a line of shell, in which "$@" is the command: `umask 077; "$@"`.
hallmark::ProgramResult DkimctlBy(const std::string& shell, const std::vector<std::string>& arguments);
// As above, with `input` as standard input.
hallmark::ProgramResult DkimctlReading(const std::string& input, const std::vector<std::string>& arguments);
// Any other program, found on the PATH.
hallmark::ProgramResult Program(const std::string& name, const std::vector<std::string>& arguments,
                                const std::map<std::string, std::string>& environment = {});

void WriteText(const std::filesystem::path& path, const std::string& text);
std::string ReadText(const std::filesystem::path& path);

// Characters, not octets, of the longest line.
std::size_t LongestLine(const std::string& text);
