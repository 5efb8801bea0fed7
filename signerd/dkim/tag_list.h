#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::dkim {

// One "name=value" of a tag list (RFC 6376 section 3.2), as views into what was parsed.
struct Tag {
  std::string_view name;
  std::string_view value;  // without the white space around it
  std::string_view whole;  // everything between "=" and the next ";" or the end
};

class TagList {
 public:
  // kInvalidArgument: a tag without a name or "=", one that occurs twice, or more than 100. An empty one at the end is
  // allowed; elsewhere it is an error. `text` must outlive the list.
  static Result<TagList> Parse(std::string_view text);

  const Tag* Find(std::string_view name) const;
  // The value; empty where the tag is missing.
  std::string_view Value(std::string_view name) const;
  const std::vector<Tag>& tags() const { return tags_; }

 private:
  std::vector<Tag> tags_;
};

// All white space taken out, as for base64 values.
std::string WithoutFws(std::string_view text);

// Takes apart at `separator`; each part without the white space around it.
std::vector<std::string_view> SplitList(std::string_view text, char separator);

}  // namespace hallmark::dkim
