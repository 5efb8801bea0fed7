#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

// What a fuzz target insists on: ends the program where `holds` is false, so that libFuzzer keeps the input.
inline void Check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Gives `text` in pieces. Each octet of `sizes` is the size of one, over and over; none at all: in one piece.
template <class Push>
void InPieces(std::string_view text, std::string_view sizes, Push push) {
  for (std::size_t at = 0; !text.empty(); ++at) {
    const std::size_t size = sizes.empty() ? text.size() : static_cast<std::uint8_t>(sizes[at % sizes.size()]);
    // Pieces may be empty, but not for ever.
    const std::string_view piece = text.substr(0, at % 16 == 15 && size == 0 ? 1 : size);
    push(piece);
    text.remove_prefix(piece.size());
  }
}

// Splits off what the fuzzer chose of piece sizes: the first octet says how many.
inline std::string_view TakeSizes(std::string_view& input) {
  if (input.empty()) return {};
  const std::size_t count = static_cast<std::uint8_t>(input.front()) % 16;
  input.remove_prefix(1);
  const std::string_view sizes = input.substr(0, count);
  input.remove_prefix(sizes.size());
  return sizes;
}
