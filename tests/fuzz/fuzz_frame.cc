#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "hsm/link/frame.h"

// Octets from the other end of the link, pushed in pieces whose sizes the input chooses. What decodes must encode, and
// to the very octets it came from: there is one way only to write a frame.

namespace {

using hallmark::Bytes;
using hallmark::ByteView;

void Insist(bool condition) {
  if (!condition) std::abort();
}

// Whether all of it was frames; `encoded` is what they encode to.
bool DecodeAll(ByteView octets, std::size_t piece, Bytes& encoded) {
  hallmark::link::Decoder decoder;
  while (true) {
    auto frame = decoder.Next();
    if (!frame) {
      Insist(!decoder.Next());  // an error is final
      return false;
    }
    if (frame->has_value()) {
      const auto again = hallmark::link::Encode(**frame);
      Insist(again.has_value());
      encoded.insert(encoded.end(), again->begin(), again->end());
      continue;
    }
    if (octets.empty()) return true;
    const std::size_t size = std::min(piece, octets.size());
    decoder.Push(octets.first(size));
    octets = octets.subspan(size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0];
  const ByteView octets(data + 1, size - 1);
  Bytes in_pieces, at_once;
  const bool good = DecodeAll(octets, piece, in_pieces);
  Insist(DecodeAll(octets, std::max<std::size_t>(1, octets.size()), at_once) == good);
  Insist(in_pieces == at_once);
  Insist(in_pieces.size() <= octets.size());
  Insist(std::equal(in_pieces.begin(), in_pieces.end(), octets.begin()));
  return 0;
}
