#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

#include "firmware/runtime/result.h"

namespace hallmark {

// Reads one TOML file strictly. Each getter takes what it expects and says so when it finds something else, so that a
// wrong file is refused with "FILE:LINE: KEY: what is wrong; expected ...". A key that no getter asked for is an error.
// Use: Load, read every key through root(), then Finish(). Getters return a default after an error, so that one run
// reports every mistake. Not thread-safe.
class ConfigFile;

// One table of the file. Lives as long as its ConfigFile.
class ConfigTable {
 public:
  // A required string, not empty.
  std::string String(const std::string& key, std::string_view expected);
  // An optional string.
  std::string String(const std::string& key, std::string_view expected, std::string fallback);
  // An optional whole number within [least, most].
  std::int64_t Integer(const std::string& key, std::int64_t fallback, std::int64_t least, std::int64_t most);
  // An optional true or false.
  bool Flag(const std::string& key, bool fallback);
  // An optional date (midnight UTC) or date and time with an offset.
  std::optional<std::chrono::sys_seconds> Time(const std::string& key);
  // A required list of strings with at least one entry, none of them empty.
  std::vector<std::string> Strings(const std::string& key, std::string_view expected);
  // The same, but optional.
  std::vector<std::string> OptionalStrings(const std::string& key, std::string_view expected);
  // Here an empty list says something too.
  std::vector<std::string> StringsOrNone(const std::string& key, std::string_view expected);
  // An optional table of strings.
  std::map<std::string, std::string> StringMap(const std::string& key);
  // A required string that names a file or folder; made absolute against the configuration file's folder.
  std::filesystem::path Path(const std::string& key, std::string_view expected);
  // A required path whose file must exist and be readable; empty when it does not.
  std::filesystem::path ReadableFile(const std::string& key, std::string_view expected);

  ConfigTable Table(const std::string& key);  // required
  std::optional<ConfigTable> OptionalTable(const std::string& key);
  std::vector<ConfigTable> Tables(const std::string& key);  // [[key]], at least one
  std::vector<ConfigTable> OptionalTables(const std::string& key);
  // Whether the key is there, whatever its value is.
  bool Has(const std::string& key);

  // Reports that `key`'s value will not do. `problem` says what is wrong, `expected` what would be right.
  void Reject(const std::string& key, const std::string& problem, std::string_view expected);
  // Takes the error of a check of `key`'s value into the report, if there is one.
  void Check(const std::string& key, const Status& status, std::string_view expected);

 private:
  friend class ConfigFile;
  ConfigTable(ConfigFile& file, const toml::table* table, std::string prefix)
      : file_(&file), table_(table), prefix_(std::move(prefix)) {}
  const toml::node* Find(const std::string& key);
  const toml::node* Require(const std::string& key, std::string_view expected);
  ConfigFile* file_;
  const toml::table* table_;  // null: the table is missing, which was reported
  std::string prefix_;
};

class ConfigFile {
 public:
  // kNotFound/kIoFailed when it cannot be read, kConfigInvalid when it is not TOML.
  static Result<std::unique_ptr<ConfigFile>> Load(const std::filesystem::path& path);
  // What `text` says, as if it were the file `path`.
  static Result<std::unique_ptr<ConfigFile>> Parse(std::string_view text, const std::filesystem::path& path);

  ConfigTable root() { return {*this, &table_, ""}; }
  const std::filesystem::path& folder() const { return folder_; }

  // kConfigInvalid with a line for each mistake, in the order of the file.
  Status Finish();
  // The same where others read the rest of the file: a key that no getter asked for is no mistake.
  Status Mistakes() const;

 private:
  friend class ConfigTable;
  ConfigFile() = default;
  void Report(std::size_t line, const std::string& key, const std::string& problem, std::string_view expected);
  void ReportUnknown(const toml::table& table, const std::string& prefix);
  std::filesystem::path path_, folder_;
  toml::table table_;
  std::multimap<std::size_t, std::string> mistakes_;  // by line
  std::set<const toml::node*> asked_;
};

}  // namespace hallmark
