#pragma once

#include <string>
#include <string_view>

namespace hallmark::relay {

// Turns a message into the form that was signed: every line ends in CRLF, as it goes over the wire (a bare CR or a bare
// LF becomes one). Or in LF, for whoever hands it to a program that makes CRLF of that. Takes pieces of any size; the
// result does not depend on where they are cut. Nothing else is changed. Not thread-safe.
class WireForm {
 public:
  explicit WireForm(std::string_view line_end = "\r\n") : line_end_(line_end) {}
  // Appends the wire form of `piece` to `out`.
  void Push(std::string_view piece, std::string& out);
  // The end of the message.
  void Finish(std::string& out);

 private:
  std::string_view line_end_;
  bool after_cr_ = false;     // a CR came last; its line end is written already
  bool within_line_ = false;  // the line that came last has no end yet
};

// The wire form of a piece that is whole by itself.
std::string ToWireForm(std::string_view text);

}  // namespace hallmark::relay
