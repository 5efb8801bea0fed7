#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hallmark::dkim {

// The line that a kernel is in, and the longest one that it has seen; octets, without line ends.
struct LineTally {
  std::int64_t open = 0;  // -1 between the CR and the LF of a line end
  std::int64_t longest = 0;

  void End() {
    if (open > longest) longest = open;
    open = 0;
  }
};

struct Compacted {
  std::size_t octets = 0;  // written
  std::uint64_t bare_cr = 0, bare_lf = 0;
};

// Body canonicalization of a slice of a body (RFC 6376 sections 3.4.3 and 3.4.4), all but the empty lines at the body's
// end, which stay. A slice does not begin with LF and does not end between CR and LF. `next` is the octet that follows
// it; NUL where none is known, which a slice that ends in CR or (relaxed) white space must not have. One implementation
// for each kind of vector instructions; all give the same. Any thread.
struct CanonicalKernel {
  const char* name;
  // Whether the slice is canonical as it stands. Only then is `tally` carried on.
  bool (*is_clean)(bool relaxed, std::string_view slice, char next, LineTally& tally);
  // Writes the canonical form to `out`, which has room for MaxCompacted(slice.size()) octets.
  Compacted (*compact)(bool relaxed, std::string_view slice, char next, char* out, LineTally& tally);
};

// Every octet may be a bare line end, which becomes two; kernels write in whole vectors.
constexpr std::size_t MaxCompacted(std::size_t octets) { return 2 * octets + 64; }

// The best one for this machine.
const CanonicalKernel& BestKernel();
// All that this machine can run; the first one goes octet by octet.
std::span<const CanonicalKernel> Kernels();

// The one that goes octet by octet.
extern const CanonicalKernel kScalarKernel;

}  // namespace hallmark::dkim
