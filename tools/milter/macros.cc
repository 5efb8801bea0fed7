#include "tools/milter/macros.h"

#include "tools/milter/frame.h"

namespace hallmark::milter {
namespace {

constexpr std::size_t kMostMacros = 256;  // for the connection, and for the message

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
  for (std::size_t i = 0; i + 1 < strings.size(); i += 2) {
    const std::string_view name = WithoutBraces(strings[i]);
    if (const auto known = values.find(name); known != values.end()) {
      known->second = strings[i + 1];
    } else if (values.size() < kMostMacros) {
      values.emplace(name, strings[i + 1]);
    }
  }
}

std::string_view Macros::Get(std::string_view name) const {
  if (const auto found = message_.find(name); found != message_.end()) return found->second;
  if (const auto found = connection_.find(name); found != connection_.end()) return found->second;
  return {};
}

void Macros::EndConnection() {
  connection_.clear();
  message_.clear();
}

}  // namespace hallmark::milter
