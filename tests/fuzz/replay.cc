#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

// Gives a fuzz target every file of a folder, in the order of their names, so that what was found once stays found
// where there is no libFuzzer. Ends in success only if there was one and the target came through all.

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
    return 2;
  }
  std::vector<std::filesystem::path> files;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(arguments[1], failed), end; !failed && entry != end;
       entry.increment(failed)) {
    files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    // Said before: a target that finds a defect ends the program.
    std::printf("%s\n", file.c_str());
    std::fflush(stdout);
    std::ifstream in(file, std::ios::binary);
    const std::vector<char> octets{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (!in) {
      std::fprintf(stderr, "cannot read it\n");
      return 1;
    }
    // Of its very size, so that a sanitizer sees who reads beyond.
    const auto exact = std::make_unique<std::uint8_t[]>(octets.size());
    std::copy(octets.begin(), octets.end(), exact.get());
    LLVMFuzzerTestOneInput(exact.get(), octets.size());
  }
  if (failed || files.empty()) {
    std::fprintf(stderr, "%s: %s\n", arguments[1], failed ? failed.message().c_str() : "no inputs");
    return 1;
  }
  return 0;
}
