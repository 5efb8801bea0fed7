#include "signerd/backup/names.h"

#include <algorithm>

namespace hallmark::backup {
namespace {

// "tls/server.pem": parts that are no "", "." or "..".
bool IsBelow(std::string_view path) {
  while (true) {
    const std::size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    if (part.empty() || part == "." || part == "..") return false;
    if (end == std::string_view::npos) return true;
    path.remove_prefix(end + 1);
  }
}

// Twenty digits, and what follows them.
bool IsSegment(std::string_view file) {
  constexpr std::size_t kDigits = 20;
  if (file.size() < kDigits) return false;
  const std::string_view digits = file.substr(0, kDigits), rest = file.substr(kDigits);
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         (rest == ".seg" || rest == ".pruned");
}

}  // namespace

bool IsName(std::string_view name) {
  if (std::any_of(name.begin(), name.end(), [](char c) { return c == '\0' || c == '\\'; })) return false;
  if (name == kManifest || name == kDatabase) return true;
  if (name.starts_with(kConfigFolder)) return IsBelow(name.substr(std::string_view(kConfigFolder).size()));
  if (!name.starts_with(kLedgerFolder)) return false;
  const std::string_view file = name.substr(std::string_view(kLedgerFolder).size());
  if (file.starts_with("segments/")) return IsSegment(file.substr(9));
  return file == "checkpoints" || file == "verifier-key" || file == "recipient.key" || file == "retention";
}

}  // namespace hallmark::backup
