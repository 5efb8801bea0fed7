#pragma once

#include <string>
#include <string_view>

namespace hallmark::ctl {

// Turns a message into the form in which it goes over the wire, which is the form that was signed: every line ends in
// CRLF (a bare CR or a bare LF becomes one), the last one too. Takes pieces of any size; the result does not depend on
// where they are cut. Nothing else is changed. Not thread-safe.
class WireForm {
 public:
  // Appends the wire form of `piece` to `out`.
  void Push(std::string_view piece, std::string& out);
  // The end of the message.
  void Finish(std::string& out);

 private:
  bool after_cr_ = false;     // a CR came last; its CRLF is written already
  bool within_line_ = false;  // the line that came last has no end yet
};

// The wire form of a piece that is whole by itself.
std::string ToWireForm(std::string_view text);

}  // namespace hallmark::ctl
