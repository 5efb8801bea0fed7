#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace hallmark::dkim {

// Finds the CRs and LFs of one chunk from left to right, at the speed of memchr. Both next ones are remembered: a chunk
// without any CR, or without any LF, is still searched only once.
class LineEndFinder {
 public:
  explicit LineEndFinder(std::string_view chunk) : chunk_(chunk), cr_(Find('\r', 0)), lf_(Find('\n', 0)) {}

  // The first CR or LF at or after `from`, or the chunk's size. `from` must not decrease from call to call.
  std::size_t Next(std::size_t from) {
    if (cr_ < from) cr_ = Find('\r', from);
    if (lf_ < from) lf_ = Find('\n', from);
    return std::min(cr_, lf_);
  }

 private:
  std::size_t Find(char c, std::size_t from) const { return std::min(chunk_.find(c, from), chunk_.size()); }

  const std::string_view chunk_;
  std::size_t cr_, lf_;
};

}  // namespace hallmark::dkim
