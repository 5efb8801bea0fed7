#pragma once

#include <bit>
#include <span>
#include <vector>

#include "signerd/ledger/merkle.h"

// RFC 6962 section 2.1, word for word: slow, and easy to compare with the text.
namespace hallmark::ledger::naive {

using Leaves = std::span<const Hash>;

// The largest power of two smaller than n, n > 1.
inline std::size_t Split(std::size_t n) { return std::bit_ceil(n) / 2; }

inline Hash Root(Leaves leaves) {
  if (leaves.empty()) return EmptyRoot();
  if (leaves.size() == 1) return leaves[0];
  const std::size_t k = Split(leaves.size());
  return NodeHash(Root(leaves.first(k)), Root(leaves.subspan(k)));
}

inline std::vector<Hash> Path(std::size_t m, Leaves leaves) {
  if (leaves.size() == 1) return {};
  const std::size_t k = Split(leaves.size());
  std::vector<Hash> path = m < k ? Path(m, leaves.first(k)) : Path(m - k, leaves.subspan(k));
  path.push_back(m < k ? Root(leaves.subspan(k)) : Root(leaves.first(k)));
  return path;
}

}  // namespace hallmark::ledger::naive
