#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/migration/plan.h"

// The forms of OpenDKIM's files: opendkim.conf(5) and the data sets of opendkim(8).
namespace hallmark::migration {

// A line of opendkim.conf.
struct Setting {
  std::string name, value;
  Place place;
};
// kInvalidArgument with the line where a name has no value.
Result<std::vector<Setting>> ParseOpenDkimConf(std::string_view text, const std::string& file);

// One entry of a data set: a key, and its value where it has one.
struct Entry {
  std::string key, value;
  Place place;
};

struct DataSet {
  bool patterns = false;  // refile: the keys have wildcards, and the first that matches counts
  std::vector<Entry> entries;
};

// The entries of a data set. kInvalidArgument for what is no file and no list: databases, LDAP, Lua and others.
Result<DataSet> ReadDataSet(const Setting& setting, const Files& files);

// Yes or no, as opendkim.conf writes them; nothing for anything else.
std::optional<bool> ParseYesNo(std::string_view text);

}  // namespace hallmark::migration
