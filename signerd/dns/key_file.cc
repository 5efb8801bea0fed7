#include "signerd/dns/key_file.h"

#include <algorithm>
#include <optional>

#include "firmware/runtime/file.h"

namespace hallmark::dns {
namespace {

constexpr std::size_t kMaxKeyFile = 64u << 20;
constexpr std::string_view kBlank = " \t\r";

std::string Normalize(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsWord(std::string_view text, std::string_view lower) { return Normalize(text) == lower; }

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// Takes the first word off `text`.
std::string_view TakeWord(std::string_view& text) {
  text = Trim(text);
  const std::size_t end = std::min(text.find_first_of(kBlank), text.size());
  const std::string_view word = text.substr(0, end);
  text = Trim(text.substr(end));
  return word;
}

bool IsNumber(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The lines of a file, read one after the other.
class Lines {
 public:
  explicit Lines(std::string_view content) : rest_(content) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);  // byte order mark
  }
  bool Next(std::string_view& line) {
    if (rest_.empty()) return false;
    const std::size_t end = rest_.find('\n');
    line = rest_.substr(0, end);
    rest_ = end == std::string_view::npos ? std::string_view() : rest_.substr(end + 1);
    ++number_;
    return true;
  }
  std::size_t number() const { return number_; }

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

// Reads the quoted strings of one record, over several lines where it opens a parenthesis.
class QuotedValue {
 public:
  // What is wrong with the line, or nothing.
  std::optional<std::string> Take(std::string_view line) {
    for (std::size_t at = 0; at < line.size();) {
      const char c = line[at];
      if (c == ';') return std::nullopt;
      if (c == '"') {
        if (auto problem = TakeString(line, ++at)) return problem;
      } else if (c == '(' && !open_) {
        open_ = true, ++at;
      } else if (c == ')' && open_) {
        open_ = false, ++at;
      } else if (kBlank.find(c) != std::string_view::npos) {
        ++at;
      } else {
        return "found \"" + std::string(line.substr(at, 20)) + "\"; expected a string in quotes";
      }
    }
    return std::nullopt;
  }
  bool open() const { return open_; }
  const std::string& text() const { return text_; }

 private:
  std::optional<std::string> TakeString(std::string_view line, std::size_t& at) {
    while (at < line.size()) {
      const char c = line[at++];
      if (c == '"') return std::nullopt;
      if (c != '\\') {
        text_.push_back(c);
      } else if (at + 3 <= line.size() && IsNumber(line.substr(at, 3))) {
        const int code = (line[at] - '0') * 100 + (line[at + 1] - '0') * 10 + (line[at + 2] - '0');
        if (code > 255) return "\\" + std::string(line.substr(at, 3)) + " is no octet; expected \\000 to \\255";
        text_.push_back(static_cast<char>(code));
        at += 3;
      } else if (at < line.size()) {
        text_.push_back(line[at++]);
      }
    }
    return "a string has no closing quote";
  }

  std::string text_;
  bool open_ = false;
};

// Takes "[TTL] [IN] TXT" off `rest`, in the orders that zone files allow; false when this is a plain `name value` line.
bool TakeType(std::string_view& rest) {
  std::string_view after = rest;
  for (int words = 0; words < 3; ++words) {
    const std::string_view word = TakeWord(after);
    if (IsWord(word, "txt")) {
      rest = after;
      return true;
    }
    if (!IsNumber(word) && !IsWord(word, "in")) return false;
  }
  return false;
}

}  // namespace

Result<KeyFile> KeyFile::Parse(std::string_view content, const std::string& source) {
  KeyFile file;
  Lines lines(content);
  std::string_view line;
  while (lines.Next(line)) {
    const auto wrong = [&](const std::string& what) {
      return MakeError(Reason::kInvalidArgument, source + ":" + std::to_string(lines.number()) + ": " + what);
    };
    std::string_view rest = Trim(line);
    if (rest.empty() || rest.front() == '#' || rest.front() == ';') continue;
    if (rest.front() == '$') return wrong("directives are not supported; write absolute names");
    const std::string name = Normalize(TakeWord(rest));
    TakeType(rest);
    if (rest.empty()) return wrong("found a name alone; expected \"NAME VALUE\" or \"NAME TXT VALUE\"");
    if (rest.front() != '"' && rest.front() != '(') {
      file.records_.emplace(name, rest);
      continue;
    }
    QuotedValue value;
    auto problem = value.Take(rest);
    while (!problem && value.open()) {
      if (!lines.Next(line)) return wrong("a parenthesis is not closed");
      problem = value.Take(line);
    }
    if (problem) return wrong(*problem);
    file.records_.emplace(name, value.text());
  }
  return file;
}

Result<KeyFile> KeyFile::Load(const std::filesystem::path& path) {
  auto content = ReadFile(path, kMaxKeyFile);
  if (!content) return content.error();
  return Parse(*content, path.string());
}

Result<std::vector<std::string>> KeyFile::LookupTxt(const std::string& name) const {
  const auto [first, last] = records_.equal_range(Normalize(name));
  if (first == last) return MakeError(Reason::kNotFound, "the key file has no record for " + name);
  std::vector<std::string> values;
  for (auto record = first; record != last; ++record) values.push_back(record->second);
  return values;
}

}  // namespace hallmark::dns
