#include "signerd/dkim/tag_list.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"

namespace hallmark::dkim {
namespace {

constexpr std::size_t kMaxTags = 100;

bool IsTagName(std::string_view name) {
  return !name.empty() && IsAlpha(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) { return IsAlpha(c) || IsDigit(c) || c == '_'; });
}

}  // namespace

Result<TagList> TagList::Parse(std::string_view text) {
  const auto invalid = [](const std::string& what) {
    return MakeError(Reason::kInvalidArgument, "the tag list " + what);
  };
  TagList list;
  while (true) {
    const std::size_t end = text.find(';');
    const std::string_view part = text.substr(0, end);
    const bool last = end == std::string_view::npos;
    const std::size_t equals = part.find('=');
    const std::string_view name = TrimFws(part.substr(0, equals));
    if (TrimFws(part).empty()) {
      if (!last) return invalid("has an empty element");
      return list;
    }
    if (equals == std::string_view::npos) return invalid("has an element without \"=\"");
    if (!IsTagName(name)) return invalid("has an element without a valid name");
    if (list.Find(name) != nullptr) return invalid("has " + std::string(name) + "= twice");
    if (list.tags_.size() == kMaxTags) return invalid("has more than " + std::to_string(kMaxTags) + " tags");
    list.tags_.push_back({name, TrimFws(part.substr(equals + 1)), part.substr(equals + 1)});
    if (last) return list;
    text.remove_prefix(end + 1);
  }
}

const Tag* TagList::Find(std::string_view name) const {
  const auto found = std::find_if(tags_.begin(), tags_.end(), [&](const Tag& tag) { return tag.name == name; });
  return found == tags_.end() ? nullptr : &*found;
}

std::string_view TagList::Value(std::string_view name) const {
  const Tag* tag = Find(name);
  return tag == nullptr ? std::string_view() : tag->value;
}

std::string WithoutFws(std::string_view text) {
  std::string out(text);
  std::erase_if(out, &IsFws);
  return out;
}

std::vector<std::string_view> SplitList(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(TrimFws(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

}  // namespace hallmark::dkim
