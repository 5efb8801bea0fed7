#pragma once

#include <cstddef>

namespace hallmark::dkim {

// What a header may cost. Checked before memory is spent on it.
struct Limits {
  std::size_t header_octets = 1 << 20;
  std::size_t header_fields = 10'000;
};

// How many names h= may have: more than any honest message needs.
inline constexpr std::size_t kMaxSignedNames = 1000;

}  // namespace hallmark::dkim
