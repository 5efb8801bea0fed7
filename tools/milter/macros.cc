#include "tools/milter/macros.h"

#include "tools/milter/frame.h"

namespace hallmark::milter {
namespace {

// For the connection, and for the message.
constexpr std::size_t kMostMacros = 256;
constexpr std::size_t kMostOctets = 64u << 10;
constexpr std::size_t kLongest = 4096;  // name and value

std::string_view WithoutBraces(std::string_view name) {
  if (name.size() >= 2 && name.front() == '{' && name.back() == '}') return name.substr(1, name.size() - 2);
  return name;
}

}  // namespace

void Macros::Take(std::string_view data) {
  if (data.empty()) return;
  const auto command = static_cast<Command>(data.front());
  // Nothing is left of what went before, though the MTA may have given it up without a word.
  if (command == Command::kConnect) EndConnection();
  if (command == Command::kMail) EndMessage();
  const bool connection = command == Command::kConnect || command == Command::kHelo;
  Values& values = connection ? connection_ : message_;
  const auto strings = SplitStrings(data.substr(1));
  for (std::size_t i = 0; i + 1 < strings.size(); i += 2) values.Put(WithoutBraces(strings[i]), strings[i + 1]);
}

std::string_view Macros::Get(std::string_view name) const {
  for (const Values* values : {&message_, &connection_}) {
    if (const std::string* value = values->Find(name)) return *value;
  }
  return {};
}

void Macros::EndConnection() {
  connection_.clear();
  message_.clear();
}

void Macros::Values::Put(std::string_view name, std::string_view value) {
  // What takes no new value has none: an old one would say something of what was before.
  if (const auto known = values_.find(name); known != values_.end()) {
    octets_ -= known->first.size() + known->second.size();
    values_.erase(known);
  }
  const std::size_t octets = name.size() + value.size();
  if (values_.size() >= kMostMacros || octets > kLongest || octets > kMostOctets - octets_) return;
  values_.emplace(name, value);
  octets_ += octets;
}

const std::string* Macros::Values::Find(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

void Macros::Values::clear() {
  values_.clear();
  octets_ = 0;
}

}  // namespace hallmark::milter
