#pragma once

#include <string>
#include <vector>

#include "tools/migration/plan.h"

namespace hallmark::migration {

// A value of rspamd's configuration language (UCL), as much of it as signing is configured with: objects, arrays,
// quoted and bare text, comments, text over lines (<<END). Numbers and yes/no are text. Macros (".include ...") are
// kept, not followed.
struct Ucl {
  enum class Kind { kText, kObject, kArray };
  Kind kind = Kind::kText;
  std::string name;  // of a member of an object
  std::string text;
  // In the order of the file. A key that comes again replaces the value, or adds to it where both are objects.
  std::vector<Ucl> members;
  std::vector<Ucl> items;
  Place place;

  void Add(std::string key, Ucl value);
  // Null where there is none.
  const Ucl* Find(const std::string& key) const;
};

// Both limits hold for hostile files.
inline constexpr std::size_t kDeepestUcl = 32;
inline constexpr std::size_t kMostUclValues = 50'000;

// The members of a whole file. A macro is a member whose key begins with a dot. kInvalidArgument with the line.
Result<Ucl> ParseUcl(std::string_view text, const std::string& file);

// What becomes of two objects of the same name: one with the members of both, and so on below; or the later one alone.
enum class SameName { kMerged, kReplaced };

// Puts `over` on top of `under`: of two values of the same name the later one counts, but for objects that are merged.
void MergeUcl(Ucl& under, const Ucl& over, SameName objects);

}  // namespace hallmark::migration
