#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace hallmark::milter {

// What the MTA said of a connection and of the message under way, by name without braces ("auth_authen", "i"). A later
// value of a name takes the place of an earlier one. Not thread-safe.
class Macros {
 public:
  // The data of a macro packet: the command that they belong to, then names and values. What is not whole, of more than
  // 4 KiB, or too much for one message is left out. Those of CONNECT begin a connection, those of MAIL a message.
  void Take(std::string_view data);
  // Empty where it is not defined; MTAs define nothing as empty.
  std::string_view Get(std::string_view name) const;
  // Forgets those of a message; those of the connection stay.
  void EndMessage() { message_.clear(); }
  void EndConnection();

  // Whether the MTA sends those that it was asked for, or those that it is configured to.
  bool asked_for() const { return asked_for_; }
  void set_asked_for(bool asked_for) { asked_for_ = asked_for; }

 private:
  // A limited number of limited values, so that a connection's memory is.
  class Values {
   public:
    void Put(std::string_view name, std::string_view value);
    const std::string* Find(std::string_view name) const;
    void clear();

   private:
    std::map<std::string, std::string, std::less<>> values_;
    std::size_t octets_ = 0;
  };
  Values connection_, message_;
  bool asked_for_ = false;
};

}  // namespace hallmark::milter
