#include "firmware/runtime/config.h"

#include <unistd.h>

#include <sstream>

#include "firmware/runtime/file.h"

namespace hallmark {
namespace {

constexpr std::size_t kMaxConfig = 16u << 20;

std::string_view TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "a whole number";
    case toml::node_type::floating_point: return "a fraction";
    case toml::node_type::boolean: return "true or false";
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time: return "a date or time";
    case toml::node_type::none: break;
  }
  return "nothing";
}

std::string Found(const toml::node& node) { return "found " + std::string(TypeName(node)); }

}  // namespace

Result<std::unique_ptr<ConfigFile>> ConfigFile::Load(const std::filesystem::path& path) {
  auto content = ReadFile(path, kMaxConfig);
  if (!content) return content.error();
  return Parse(*content, path);
}

Result<std::unique_ptr<ConfigFile>> ConfigFile::Parse(std::string_view text, const std::filesystem::path& path) {
  std::unique_ptr<ConfigFile> file(new ConfigFile());
  file->path_ = path;
  std::error_code ignored;
  file->folder_ = std::filesystem::absolute(path, ignored).parent_path();
  try {  // toml++ speaks in exceptions; they end here.
    file->table_ = toml::parse(text, path.string());
  } catch (const toml::parse_error& error) {
    return MakeError(Reason::kConfigInvalid, path.string() + ":" + std::to_string(error.source().begin.line) +
                                                 ": not valid TOML: " + std::string(error.description()) +
                                                 "; expected TOML 1.0");
  }
  return file;
}

void ConfigFile::Report(std::size_t line, const std::string& key, const std::string& problem,
                        std::string_view expected) {
  std::ostringstream text;
  text << path_.string() << ":" << line << ": " << key << ": " << problem << "; expected " << expected;
  mistakes_.emplace(line, text.str());
}

void ConfigFile::ReportUnknown(const toml::table& table, const std::string& prefix) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (!asked_.contains(&node)) {
      Report(key.source().begin.line, name, "unknown key", "one of the keys that its manual lists");
      continue;
    }
    if (const toml::table* inner = node.as_table()) ReportUnknown(*inner, name + ".");
    if (const toml::array* list = node.as_array()) {
      std::size_t index = 0;
      for (const toml::node& entry : *list) {
        if (const toml::table* inner = entry.as_table())
          ReportUnknown(*inner, name + "[" + std::to_string(index) + "].");
        ++index;
      }
    }
  }
}

Status ConfigFile::Finish() {
  ReportUnknown(table_, "");
  return Mistakes();
}

Status ConfigFile::Mistakes() const {
  if (mistakes_.empty()) return Ok();
  std::string all;
  for (const auto& [line, text] : mistakes_) all += (all.empty() ? "" : "\n") + text;
  return MakeError(Reason::kConfigInvalid, all);
}

const toml::node* ConfigTable::Find(const std::string& key) {
  if (table_ == nullptr) return nullptr;
  const toml::node* node = table_->get(key);
  if (node != nullptr) file_->asked_.insert(node);
  return node;
}

const toml::node* ConfigTable::Require(const std::string& key, std::string_view expected) {
  const toml::node* node = Find(key);
  if (node == nullptr && table_ != nullptr) {
    file_->Report(table_->source().begin.line, prefix_ + key, "missing", expected);
  }
  return node;
}

void ConfigTable::Reject(const std::string& key, const std::string& problem, std::string_view expected) {
  const toml::node* node = table_ == nullptr ? nullptr : table_->get(key);
  if (table_ == nullptr) return;
  file_->Report((node != nullptr ? node->source() : table_->source()).begin.line, prefix_ + key, problem, expected);
}

void ConfigTable::Check(const std::string& key, const Status& status, std::string_view expected) {
  if (!status) Reject(key, status.error().message, expected);
}

std::string ConfigTable::String(const std::string& key, std::string_view expected) {
  const toml::node* node = Require(key, expected);
  if (node == nullptr) return "";
  const auto value = node->value_exact<std::string>();
  if (!value) Reject(key, Found(*node), expected);
  if (value && value->empty()) Reject(key, "empty", expected);
  return value.value_or("");
}

std::string ConfigTable::String(const std::string& key, std::string_view expected, std::string fallback) {
  return Find(key) == nullptr ? fallback : String(key, expected);
}

std::int64_t ConfigTable::Integer(const std::string& key, std::int64_t fallback, std::int64_t least,
                                  std::int64_t most) {
  const toml::node* node = Find(key);
  if (node == nullptr) return fallback;
  const std::string expected = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
  const auto value = node->value_exact<std::int64_t>();
  if (!value) {
    Reject(key, Found(*node), expected);
  } else if (*value < least || *value > most) {
    Reject(key, "found " + std::to_string(*value), expected);
  } else {
    return *value;
  }
  return fallback;
}

bool ConfigTable::Flag(const std::string& key, bool fallback) {
  const toml::node* node = Find(key);
  if (node == nullptr) return fallback;
  const auto value = node->value_exact<bool>();
  if (!value) Reject(key, Found(*node), "true or false");
  return value.value_or(fallback);
}

std::optional<std::chrono::sys_seconds> ConfigTable::Time(const std::string& key) {
  constexpr std::string_view kExpected = "a date or a time with an offset, for example 2026-01-31T00:00:00Z";
  const toml::node* node = Find(key);
  if (node == nullptr) return std::nullopt;
  toml::date_time time{};
  if (const auto date = node->value_exact<toml::date>()) {
    time.date = *date;
    time.offset.emplace();
  } else if (const auto full = node->value_exact<toml::date_time>()) {
    time = *full;
  }
  const std::chrono::year_month_day day(std::chrono::year(time.date.year), std::chrono::month(time.date.month),
                                        std::chrono::day(time.date.day));
  if (!time.offset || !day.ok()) {
    Reject(key, Found(*node), kExpected);
    return std::nullopt;
  }
  return std::chrono::sys_days(day) + std::chrono::hours(time.time.hour) + std::chrono::minutes(time.time.minute) +
         std::chrono::seconds(time.time.second) - std::chrono::minutes(time.offset->minutes);
}

std::vector<std::string> ConfigTable::OptionalStrings(const std::string& key, std::string_view expected) {
  return Has(key) ? Strings(key, expected) : std::vector<std::string>();
}

std::vector<std::string> ConfigTable::StringsOrNone(const std::string& key, std::string_view expected) {
  const toml::node* node = Has(key) ? Require(key, expected) : nullptr;
  const bool none = node == nullptr || (node->is_array() && node->as_array()->empty());
  return none ? std::vector<std::string>() : Strings(key, expected);
}

std::vector<std::string> ConfigTable::Strings(const std::string& key, std::string_view expected) {
  const toml::node* node = Require(key, expected);
  if (node == nullptr) return {};
  const toml::array* list = node->as_array();
  if (list == nullptr || list->empty()) {
    Reject(key, list == nullptr ? Found(*node) : "found an empty list", expected);
    return {};
  }
  std::vector<std::string> values;
  for (const toml::node& entry : *list) {
    auto value = entry.value_exact<std::string>();
    if (!value || value->empty()) {
      Reject(key, value ? "found an empty string in the list" : Found(entry) + " in the list", expected);
      return {};
    }
    values.push_back(std::move(*value));
  }
  return values;
}

std::map<std::string, std::string> ConfigTable::StringMap(const std::string& key) {
  constexpr std::string_view kExpected = "a table of strings, { NAME = \"value\" }";
  std::map<std::string, std::string> values;
  const toml::node* node = Find(key);
  if (node == nullptr) return values;
  const toml::table* table = node->as_table();
  if (table == nullptr) {
    Reject(key, Found(*node), kExpected);
    return values;
  }
  for (const auto& [name, entry] : *table) {
    file_->asked_.insert(&entry);
    const auto value = entry.value_exact<std::string>();
    if (!value) Reject(key, Found(entry) + " for " + std::string(name.str()), kExpected);
    values.emplace(name.str(), value.value_or(""));
  }
  return values;
}

std::filesystem::path ConfigTable::Path(const std::string& key, std::string_view expected) {
  const std::string value = String(key, expected);
  return value.empty() ? std::filesystem::path() : file_->folder() / value;
}

std::filesystem::path ConfigTable::ReadableFile(const std::string& key, std::string_view expected) {
  std::filesystem::path path = Path(key, expected);
  if (path.empty()) return path;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) || ::access(path.c_str(), R_OK) != 0) {
    Reject(key, path.string() + " is not a file that can be read", expected);
    path.clear();
  }
  return path;
}

ConfigTable ConfigTable::Table(const std::string& key) {
  const toml::node* node = Require(key, "a table [" + prefix_ + key + "]");
  if (node != nullptr && !node->is_table()) Reject(key, Found(*node), "a table [" + prefix_ + key + "]");
  return {*file_, node == nullptr ? nullptr : node->as_table(), prefix_ + key + "."};
}

bool ConfigTable::Has(const std::string& key) { return Find(key) != nullptr; }

std::vector<ConfigTable> ConfigTable::OptionalTables(const std::string& key) {
  return Has(key) ? Tables(key) : std::vector<ConfigTable>();
}

std::optional<ConfigTable> ConfigTable::OptionalTable(const std::string& key) {
  if (table_ == nullptr || table_->get(key) == nullptr) return std::nullopt;
  return Table(key);
}

std::vector<ConfigTable> ConfigTable::Tables(const std::string& key) {
  const std::string expected = "at least one table [[" + prefix_ + key + "]]";
  const toml::node* node = Require(key, expected);
  if (node == nullptr) return {};
  const toml::array* list = node->as_array();
  if (list == nullptr || list->empty() || !list->is_homogeneous(toml::node_type::table)) {
    Reject(key, list != nullptr && list->empty() ? "found an empty list" : Found(*node), expected);
    return {};
  }
  std::vector<ConfigTable> tables;
  for (std::size_t i = 0; i < list->size(); ++i) {
    tables.push_back({*file_, list->get(i)->as_table(), prefix_ + key + "[" + std::to_string(i) + "]."});
  }
  return tables;
}

}  // namespace hallmark
