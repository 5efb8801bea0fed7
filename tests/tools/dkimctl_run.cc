#include "dkimctl_run.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <sstream>

using hallmark::ProgramResult;

namespace {

const std::string kDkimctl = HALLMARK_BIN_DIR "/dkimctl";
const std::map<std::string, std::string> kEnvironment = {{"HALLMARK_DIR", ""}};

ProgramResult Run(const std::string& program, const std::vector<std::string>& arguments,
                  const std::map<std::string, std::string>& environment) {
  constexpr std::chrono::minutes kLimit{4};  // ThreadSanitizer takes its time
  const auto result = hallmark::RunProgram(program, arguments, environment, kLimit);
  EXPECT_TRUE(result) << result.error().message;
  return result ? *result : ProgramResult();
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "hallmark-tools.XXXXXX").string();
  EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ProgramResult Dkimctl(const std::vector<std::string>& arguments) { return Run(kDkimctl, arguments, kEnvironment); }

ProgramResult DkimctlBy(const std::string& shell, const std::vector<std::string>& arguments) {
  std::vector<std::string> line = {"-c", shell, "sh", kDkimctl};
  line.insert(line.end(), arguments.begin(), arguments.end());
  return Run("/bin/sh", line, kEnvironment);
}

ProgramResult DkimctlReading(const std::string& input, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  WriteText(folder.path() / "input", input);
  return DkimctlBy("exec \"$@\" < '" + folder / "input" + "'", arguments);
}

ProgramResult Program(const std::string& name, const std::vector<std::string>& arguments,
                      const std::map<std::string, std::string>& environment) {
  std::vector<std::string> line = {name};
  line.insert(line.end(), arguments.begin(), arguments.end());
  return Run("/usr/bin/env", line, environment);
}

void WriteText(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string ReadText(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::size_t LongestLine(const std::string& text) {
  std::size_t longest = 0, width = 0;
  for (const char c : text) {
    if (c == '\n') {
      width = 0;
    } else if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) {
      longest = std::max(longest, ++width);
    }
  }
  return longest;
}
