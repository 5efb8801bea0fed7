#include "tools/relay-client/wire_form.h"

namespace hallmark::relay {

void WireForm::Push(std::string_view piece, std::string& out) {
  while (!piece.empty()) {
    if (after_cr_ && piece.front() == '\n') {
      after_cr_ = false;
      piece.remove_prefix(1);
      continue;
    }
    after_cr_ = false;
    const std::size_t end = piece.find_first_of("\r\n");
    out += piece.substr(0, end);
    within_line_ = within_line_ || end != 0;
    if (end == std::string_view::npos) return;
    out += line_end_;
    within_line_ = false;
    after_cr_ = piece[end] == '\r';
    piece.remove_prefix(end + 1);
  }
}

void WireForm::Finish(std::string& out) {
  if (within_line_) out += line_end_;
  within_line_ = false;
}

std::string ToWireForm(std::string_view text) {
  WireForm form;
  std::string out;
  form.Push(text, out);
  form.Finish(out);
  return out;
}

}  // namespace hallmark::relay
