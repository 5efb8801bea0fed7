#pragma once

#include <map>
#include <string>

#include "tools/migration/plan.h"

namespace hallmark::migration {

// Files in memory.
class MemoryFiles {
 public:
  explicit MemoryFiles(std::map<std::string, std::string> files) : files_(std::move(files)) {}

  Files Functions() const {
    return {[this](const std::string& path) -> Result<std::string> {
              const auto found = files_.find(path);
              if (found == files_.end()) return MakeError(Reason::kNotFound, path + ": no such file");
              return found->second;
            },
            [this](const std::string& path) -> Result<std::vector<std::string>> {
              std::vector<std::string> names;
              for (const auto& [name, text] : files_) {
                if (name.starts_with(path + "/") && name.find('/', path.size() + 1) == std::string::npos) {
                  names.push_back(name.substr(path.size() + 1));
                }
              }
              if (names.empty()) return MakeError(Reason::kNotFound, path + ": no such folder");
              return names;
            }};
  }

 private:
  const std::map<std::string, std::string> files_;
};

// "SELECTOR DOMAIN FILE", with a "-" before those that sign nothing, in order.
inline std::set<std::string> KeysOf(const Plan& plan) {
  std::set<std::string> out;
  for (const PlannedKey& key : plan.keys) {
    out.insert((key.active ? "" : "-") + key.selector + " " + key.domain + " " + key.key.path);
  }
  return out;
}

// Whether there is a note of this kind, at this place, with these words.
inline bool HasNote(const Plan& plan, Note::Kind kind, const std::string& place, const std::string& words) {
  for (const Note& note : plan.notes) {
    if (note.kind == kind && note.place.Text() == place && note.text.find(words) != std::string::npos) return true;
  }
  return false;
}

inline std::string NotesOf(const Plan& plan) {
  std::string out;
  for (const Note& note : plan.notes) out += note.place.Text() + ": " + note.text + "\n";
  return out;
}

}  // namespace hallmark::migration
