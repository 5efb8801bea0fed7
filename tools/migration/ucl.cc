#include "tools/migration/ucl.h"

#include <algorithm>

namespace hallmark::migration {
namespace {

class Parser {
 public:
  Parser(std::string_view text, std::string file) : text_(text), file_(std::move(file)) {}

  Result<Ucl> File() {
    if (text_.find('\0') != std::string_view::npos) return Wrong("has a NUL, so it is no configuration");
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    Ucl out = New(Ucl::Kind::kObject);
    Blanks();
    const bool braces = Peek() == '{';
    if (braces) ++at_;
    const Status read = Members(out, braces ? '}' : '\0', 0);
    if (!read) return read.error();
    Blanks();
    if (at_ < text_.size()) return Wrong("text after the end");
    return out;
  }

 private:
  Error Wrong(const std::string& what) const {
    return MakeError(Reason::kInvalidArgument, file_ + ":" + std::to_string(Line()) + ": " + what);
  }
  // Counted on from where it was asked last: places are asked for in order.
  unsigned Line() const {
    line_ += static_cast<unsigned>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(counted_),
                                              text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n'));
    counted_ = at_;
    return line_;
  }
  Ucl New(Ucl::Kind kind) const {
    Ucl value;
    value.kind = kind;
    value.place = {file_, Line()};
    return value;
  }
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  // White space and comments; comments in /* */ nest.
  void Blanks() {
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      if (rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n') {
        ++at_;
      } else if (rest[0] == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (rest.starts_with("/*")) {
        Comment();
      } else {
        return;
      }
    }
  }
  void Comment() {
    std::size_t depth = 0;
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      const bool opens = rest.starts_with("/*"), closes = rest.starts_with("*/");
      at_ += opens || closes ? 2 : 1;
      if (opens) ++depth;
      if (closes && --depth == 0) return;
    }
  }
  void Separators() {
    Blanks();
    while (Peek() == ';' || Peek() == ',') {
      ++at_;
      Blanks();
    }
  }

  Status Members(Ucl& object, char end, std::size_t depth) {
    while (true) {
      Separators();
      if (at_ == text_.size()) return end == '\0' ? Ok() : Status(Wrong("a brace is not closed"));
      if (Peek() == end) {
        ++at_;
        return Ok();
      }
      const Status read = Peek() == '.' ? Macro(object, depth) : Member(object, depth);
      if (!read) return read;
    }
  }

  // ".include(try=true) "FILE"": the key is ".include", the value what follows.
  Status Macro(Ucl& object, std::size_t depth) {
    if (depth > kDeepestUcl) return Wrong("nested too deep");
    Ucl value = New(Ucl::Kind::kText);
    const std::size_t end = std::min(text_.find_first_of(" \t(\"\n{;", at_), text_.size());
    const std::string name(text_.substr(at_, end - at_));
    at_ = end;
    if (Peek() == '(') at_ = std::min(text_.find(')', at_), text_.size() - 1) + 1;
    while (Peek() == ' ' || Peek() == '\t') ++at_;
    Status read = Ok();
    if (Peek() == '"') {
      read = Quoted(value.text);
    } else if (Peek() == '{') {
      ++at_;
      Ucl ignored = New(Ucl::Kind::kObject);
      read = Members(ignored, '}', depth + 1);
    } else {
      Bare(value.text);
    }
    if (read) object.Add(name, std::move(value));
    return read;
  }

  Status Member(Ucl& object, std::size_t depth) {
    std::string key;
    const Status named = Key(key);
    if (!named) return named;
    Blanks();
    if (Peek() == '=' || Peek() == ':') {
      ++at_;
      Blanks();
    } else if (Peek() != '{' && Peek() != '[' && Peek() != '\'') {
      // "section name { ... }" is an object within an object.
      const std::size_t before = at_;
      std::string inner;
      const Status quoted = Peek() == '"' ? Quoted(inner) : Ok();
      if (!quoted) return quoted;
      if ((!inner.empty() || Word(inner)) && (Blanks(), Peek() == '{')) {
        Ucl outer = New(Ucl::Kind::kObject);
        auto value = Value(depth + 1);
        if (!value) return value.error();
        outer.Add(std::move(inner), std::move(*value));
        object.Add(std::move(key), std::move(outer));
        return Ok();
      }
      at_ = before;
    }
    auto value = Value(depth + 1);
    if (!value) return value.error();
    object.Add(std::move(key), std::move(*value));
    return Ok();
  }

  Status Key(std::string& key) {
    if (Peek() == '"') return Quoted(key);
    return Word(key) ? Ok() : Status(Wrong("expected a name"));
  }
  bool Word(std::string& key) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && std::string_view(" \t\r\n=:{}[];,\"'#").find(text_[at_]) == std::string_view::npos)
      ++at_;
    key = std::string(text_.substr(begin, at_ - begin));
    return !key.empty();
  }

  Result<Ucl> Value(std::size_t depth) {
    if (depth > kDeepestUcl) return Wrong("nested too deep");
    if (++values_ > kMostUclValues) return Wrong("too many values");
    const char first = Peek();
    Ucl value = New(first == '{' ? Ucl::Kind::kObject : first == '[' ? Ucl::Kind::kArray : Ucl::Kind::kText);
    Status read = Ok();
    if (first == '{') {
      ++at_;
      read = Members(value, '}', depth);
    } else if (first == '[') {
      ++at_;
      read = Items(value, depth);
    } else if (first == '"') {
      read = Quoted(value.text);
    } else if (first == '\'') {
      read = SingleQuoted(value.text);
    } else if (text_.substr(at_).starts_with("<<")) {
      read = OverLines(value.text);
    } else {
      Bare(value.text);
    }
    if (!read) return read.error();
    return value;
  }

  Status Items(Ucl& array, std::size_t depth) {
    while (true) {
      Separators();
      if (at_ == text_.size()) return Wrong("a bracket is not closed");
      if (Peek() == ']') {
        ++at_;
        return Ok();
      }
      const std::size_t before = at_;
      auto item = Value(depth + 1);
      if (!item) return item.error();
      if (at_ == before) return Wrong("expected a value");
      array.items.push_back(std::move(*item));
    }
  }

  Status Quoted(std::string& out) {
    const std::size_t begin = ++at_;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        ++at_;
        out += text_[at_] == 'n' ? '\n' : text_[at_] == 't' ? '\t' : text_[at_] == 'r' ? '\r' : text_[at_];
      } else {
        out += text_[at_];
      }
      ++at_;
    }
    if (at_ == text_.size()) {
      at_ = begin;
      return Wrong("a quotation mark is not closed");
    }
    ++at_;
    return Ok();
  }
  Status SingleQuoted(std::string& out) {
    const std::size_t end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) return Wrong("a quotation mark is not closed");
    out = std::string(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return Ok();
  }
  // "<<END", lines, and END on a line of its own.
  Status OverLines(std::string& out) {
    const std::size_t line_end = text_.find('\n', at_);
    if (line_end == std::string_view::npos) return Wrong("text over lines has no end");
    const std::string_view word = Trim(text_.substr(at_ + 2, line_end - at_ - 2));
    const std::size_t end = word.empty() ? std::string_view::npos : text_.find("\n" + std::string(word), line_end);
    if (end == std::string_view::npos) return Wrong("text over lines has no end");
    if (end > line_end) out = std::string(text_.substr(line_end + 1, end - line_end - 1));
    at_ = end + 1 + word.size();
    return Ok();
  }
  // Up to the end of the line, or what ends a value.
  void Bare(std::string& out) {
    const std::size_t end = std::min(text_.find_first_of(";,\n}]#", at_), text_.size());
    out = std::string(Trim(text_.substr(at_, end - at_)));
    at_ = end;
  }

  const std::string_view text_;
  const std::string file_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
  mutable std::size_t counted_ = 0;
  mutable unsigned line_ = 1;
};

}  // namespace

void Ucl::Add(std::string key, Ucl value) {
  value.name = std::move(key);
  members.push_back(std::move(value));
}

const Ucl* Ucl::Find(const std::string& key) const {
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const Ucl& member) { return member.name == key; });
  return found == members.end() ? nullptr : &*found;
}

Result<Ucl> ParseUcl(std::string_view text, const std::string& file) {
  const auto parsed = Parser(text, file).File();
  if (!parsed) return parsed.error();
  Ucl out;
  out.kind = Ucl::Kind::kObject;
  out.place = parsed->place;
  MergeUcl(out, *parsed, SameName::kMerged);
  return out;
}

void MergeUcl(Ucl& under, const Ucl& over, SameName objects) {
  std::map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < under.members.size(); ++i) places.emplace(under.members[i].name, i);
  for (const Ucl& value : over.members) {
    // Macros stay, each of them.
    const auto [place, fresh] = places.emplace(value.name, under.members.size());
    if (fresh || value.name.starts_with('.')) {
      under.members.push_back(value);
      continue;
    }
    Ucl& known = under.members[place->second];
    const bool both = known.kind == Ucl::Kind::kObject && value.kind == Ucl::Kind::kObject;
    if (both && objects == SameName::kMerged) {
      MergeUcl(known, value, objects);
    } else {
      known = value;  // of the same name
    }
  }
}

}  // namespace hallmark::migration
