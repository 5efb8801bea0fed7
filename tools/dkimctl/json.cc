#include "tools/dkimctl/json.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/printable.h"

namespace hallmark::ctl {
namespace {

std::string Escape(char32_t code) {
  char text[16];
  std::snprintf(text, sizeof text, "\\u%04x", static_cast<unsigned>(code));  // no control is above U+FFFF
  return text;
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t size = Utf8Octets(text);
    const char c = text.front();
    if (size == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (const Control control = ControlAt(text); control.octets != 0) {
      out += Escape(control.code);
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out + "\"";
}

// protobuf's JSON leaves some of them as they are. Line ends are between its strings, and no others are.
std::string EscapeControls(std::string_view json) {
  std::string out;
  while (!json.empty()) {
    const Control control = ControlAt(json);
    const std::size_t octets = std::max<std::size_t>(Utf8Octets(json), 1);
    const bool stays = control.octets == 0 || json.front() == '\n';
    stays ? out.append(json.substr(0, octets)) : out.append(Escape(control.code));
    json.remove_prefix(octets);
  }
  return out;
}

}  // namespace

Json Json::Text(std::string_view text) {
  Json json(Kind::kText);
  json.text_ = Quote(text);
  return json;
}

Json Json::Number(std::int64_t number) {
  Json json(Kind::kText);
  json.text_ = std::to_string(number);
  return json;
}

Json Json::Bool(bool value) {
  Json json(Kind::kText);
  json.text_ = value ? "true" : "false";
  return json;
}

Json Json::Message(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  Json json(Kind::kText);
  if (!google::protobuf::util::MessageToJsonString(message, &json.text_, options).ok()) json.text_ = "null";
  while (json.text_.ends_with('\n')) json.text_.pop_back();
  json.text_ = EscapeControls(json.text_);
  return json;
}

Json& Json::Extend(std::string_view key, const Json& value) {
  std::string octets = ",\n " + Quote(key) + ": ";
  value.Write(octets, 1);
  text_.insert(text_.rfind("\n}"), octets);
  return *this;
}

void Json::Write(std::string& out, std::size_t depth) const {
  const std::string line_end = "\n" + std::string(depth, ' ');
  if (kind_ == Kind::kText) {
    for (const char c : text_) {
      if (c == '\n') {
        out += line_end;
      } else {
        out += c;
      }
    }
    return;
  }
  const bool object = kind_ == Kind::kObject;
  out += object ? '{' : '[';
  bool first = true;
  for (const auto& [key, value] : members_) {
    out += (first ? "" : ",") + line_end + " ";
    first = false;
    if (object) out += Quote(key) + ": ";
    value.Write(out, depth + 1);
  }
  if (!first) out += line_end;
  out += object ? '}' : ']';
}

std::string Json::Dump() const {
  std::string out;
  Write(out, 0);
  return out + "\n";
}

}  // namespace hallmark::ctl
