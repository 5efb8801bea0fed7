#include "tools/migration/opendkim_files.h"

#include <array>

namespace hallmark::migration {
namespace {

constexpr std::array<std::string_view, 9> kElsewhere = {
    "db:", "dsn:", "ldap:", "ldaps:", "ldapi:", "lua:", "erlang:", "memcache:", "mdb:"};
constexpr std::string_view kBlanks = " \t";

Error Wrong(const Place& place, const std::string& what) {
  return MakeError(Reason::kInvalidArgument, place.Text() + ": " + what);
}

// Until a '#', which begins a comment.
std::string_view WithoutComment(std::string_view line) { return Trim(line.substr(0, line.find('#'))); }

std::pair<std::string_view, std::string_view> SplitAtBlank(std::string_view line) {
  const std::size_t end = line.find_first_of(kBlanks);
  if (end == std::string_view::npos) return {line, {}};
  return {line.substr(0, end), Trim(line.substr(end))};
}

Result<DataSet> ReadFile(const std::string& path, bool patterns, const Files& files) {
  const auto text = files.read(path);
  if (!text) return text.error();
  const auto lines = Lines(*text, path);
  if (!lines) return lines.error();
  DataSet set;
  set.patterns = patterns;
  unsigned number = 0;
  for (const std::string_view line : *lines) {
    ++number;
    const std::string_view content = WithoutComment(line);
    if (content.empty()) continue;
    const auto [key, value] = SplitAtBlank(content);
    set.entries.push_back({std::string(key), std::string(value), {path, number}});
  }
  return set;
}

DataSet ReadList(std::string_view list, const Place& place) {
  DataSet set;
  while (!list.empty()) {
    const std::size_t end = list.find(',');
    const std::string_view item = Trim(list.substr(0, end));
    list = end == std::string_view::npos ? std::string_view() : list.substr(end + 1);
    if (item.empty()) continue;
    const std::size_t equals = item.find('=');
    const bool pair = equals != std::string_view::npos;
    set.entries.push_back({std::string(Trim(item.substr(0, equals))),
                           pair ? std::string(Trim(item.substr(equals + 1))) : std::string(), place});
  }
  return set;
}

}  // namespace

Result<std::vector<Setting>> ParseOpenDkimConf(std::string_view text, const std::string& file) {
  const auto lines = Lines(text, file);
  if (!lines) return lines.error();
  std::vector<Setting> settings;
  unsigned number = 0;
  for (const std::string_view line : *lines) {
    ++number;
    const std::string_view content = WithoutComment(line);
    if (content.empty()) continue;
    const auto [name, value] = SplitAtBlank(content);
    if (value.empty()) return Wrong({file, number}, "\"" + std::string(name) + "\" has no value");
    settings.push_back({std::string(name), std::string(value), {file, number}});
  }
  return settings;
}

Result<DataSet> ReadDataSet(const Setting& setting, const Files& files) {
  std::string_view value = setting.value;
  for (const std::string_view kind : kElsewhere) {
    if (Lower(value.substr(0, kind.size())) == kind) {
      return Wrong(setting.place, setting.name + " is kept in a " + std::string(kind.substr(0, kind.size() - 1)) +
                                      " data set, which is not read: write it to a file and name that");
    }
  }
  if (value.ends_with(".db")) {
    return Wrong(setting.place, setting.name + " is kept in a database, which is not read: write it to a file");
  }
  if (value.starts_with("csl:")) return ReadList(value.substr(4), setting.place);
  if (value.starts_with("refile:")) return ReadFile(std::string(value.substr(7)), true, files);
  if (value.starts_with("file:")) return ReadFile(std::string(value.substr(5)), false, files);
  if (value.starts_with('/')) return ReadFile(std::string(value), false, files);
  return ReadList(value, setting.place);
}

std::optional<bool> ParseYesNo(std::string_view text) {
  if (text.empty()) return std::nullopt;
  switch (text[0]) {
    case 't':
    case 'T':
    case 'y':
    case 'Y':
    case '1': return true;
    case 'f':
    case 'F':
    case 'n':
    case 'N':
    case '0': return false;
    default: return std::nullopt;
  }
}

}  // namespace hallmark::migration
