#include "firmware/health/sysfs.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "firmware/runtime/file.h"

namespace hallmark::health {
namespace {

constexpr std::size_t kMostOctets = 4096;
constexpr std::string_view kBlanks = " \t\r\n";

}  // namespace

Result<std::string> ReadLine(const std::filesystem::path& path) {
  auto text = ReadFile(path, kMostOctets);
  if (!text) return text.error();
  text->erase(std::min(text->find('\n'), text->size()));
  const std::size_t first = text->find_first_not_of(kBlanks);
  if (first == std::string::npos) return std::string();
  return text->substr(first, text->find_last_not_of(kBlanks) - first + 1);
}

Result<std::int64_t> ReadNumber(const std::filesystem::path& path) {
  const auto line = ReadLine(path);
  if (!line) return line.error();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(line->data(), line->data() + line->size(), number);
  if (error == std::errc() && end == line->data() + line->size()) return number;
  return MakeError(Reason::kInvalidArgument, path.string() + ": not a number");
}

std::vector<std::filesystem::path> Entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> entries;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    entries.push_back(entry->path());
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return ::strverscmp(a.c_str(), b.c_str()) < 0; });
  return entries;
}

}  // namespace hallmark::health
