#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hallmark::ctl {

// One JSON value, written in the order in which it was put together. Octets that are not UTF-8 become U+FFFD.
class Json {
 public:
  static Json Object() { return Json(Kind::kObject); }
  static Json Array() { return Json(Kind::kArray); }
  static Json Text(std::string_view text);
  static Json Number(std::int64_t number);
  static Json Bool(bool value);
  // As the API's JSON form: field names as in the .proto files, members with default values too.
  static Json Message(const google::protobuf::Message& message);
  // A Message with one member more.
  Json& Extend(std::string_view key, const Json& value);

  Json& Set(std::string key, Json value) {
    members_.emplace_back(std::move(key), std::move(value));
    return *this;
  }
  Json& Add(Json value) {
    members_.emplace_back(std::string(), std::move(value));
    return *this;
  }
  // With line ends and one blank for each level, and a final line end.
  std::string Dump() const;

 private:
  enum class Kind { kText, kObject, kArray };
  explicit Json(Kind kind) : kind_(kind) {}
  void Write(std::string& out, std::size_t depth) const;
  Kind kind_;
  std::string text_;  // JSON already, over lines where it was a message
  std::vector<std::pair<std::string, Json>> members_;
};

}  // namespace hallmark::ctl
