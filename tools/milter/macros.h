#pragma once

#include <map>
#include <string>
#include <string_view>

namespace hallmark::milter {

// What the MTA said of a connection and of the message under way, by name without braces ("auth_authen", "i"). A later
// value of a name takes the place of an earlier one. Not thread-safe.
class Macros {
 public:
  // The data of a macro packet: the command that they belong to, then names and values. What is not whole is left out.
  // Those of CONNECT begin a connection, those of MAIL a message.
  void Take(std::string_view data);
  // Empty where it is not defined; MTAs define nothing as empty.
  std::string_view Get(std::string_view name) const;
  // Forgets those of a message; those of the connection stay.
  void EndMessage() { message_.clear(); }
  void EndConnection();

 private:
  using Values = std::map<std::string, std::string, std::less<>>;
  Values connection_, message_;
};

}  // namespace hallmark::milter
