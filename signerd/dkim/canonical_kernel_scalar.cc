#include "signerd/dkim/ascii.h"
#include "signerd/dkim/canonical_kernel.h"

namespace hallmark::dkim {
namespace {

bool IsClean(bool relaxed, std::string_view slice, char next, LineTally& tally) {
  LineTally lines = tally;
  for (std::size_t i = 0; i < slice.size(); ++i) {
    const char c = slice[i];
    const char after = i + 1 < slice.size() ? slice[i + 1] : next;
    if (relaxed && (c == '\t' || (c == ' ' && (IsWsp(after) || after == '\r' || after == '\n')))) return false;
    if ((c == '\r') != (after == '\n')) return false;
    if (c == '\r') {
      lines.End();
    } else if (c != '\n') {
      ++lines.open;
    }
  }
  tally = lines;
  return true;
}

Compacted Compact(bool relaxed, std::string_view slice, char next, char* out, LineTally& tally) {
  Compacted result;
  char* end = out;
  for (std::size_t i = 0; i < slice.size(); ++i) {
    const char c = slice[i];
    const char after = i + 1 < slice.size() ? slice[i + 1] : next;
    if (c == '\r' || c == '\n') {
      tally.End();
      *end++ = '\r';
      *end++ = '\n';
      if (c == '\n') {
        ++result.bare_lf;
      } else if (after == '\n') {
        ++i;
      } else {
        ++result.bare_cr;
      }
      continue;
    }
    ++tally.open;
    if (!relaxed || !IsWsp(c)) {
      *end++ = c;
    } else if (!IsWsp(after) && after != '\r' && after != '\n') {
      *end++ = ' ';
    }
  }
  result.octets = static_cast<std::size_t>(end - out);
  return result;
}

}  // namespace

const CanonicalKernel kScalarKernel = {"scalar", &IsClean, &Compact};

}  // namespace hallmark::dkim
