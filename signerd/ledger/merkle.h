#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "firmware/runtime/result.h"

// The Merkle tree of RFC 6962 section 2.1 with SHA-256. All functions: any thread.
namespace hallmark::ledger {

using Hash = std::array<std::uint8_t, 32>;

Hash LeafHash(ByteView record);                      // SHA-256(0x00 || record)
Hash NodeHash(const Hash& left, const Hash& right);  // SHA-256(0x01 || left || right)
Hash EmptyRoot();                                    // SHA-256 of nothing
Result<Hash> HashFrom(std::string_view octets);      // kInvalidArgument when they are not 32
inline std::string_view AsText(const Hash& hash) { return hallmark::AsText(ByteView(hash)); }

// The sizes, as powers of two, of the perfect subtrees that cover leaves [first, first + count), left to right, each as
// large as it can be: a subtree of 2^k leaves begins at a multiple of 2^k. With first = 0: largest first.
std::vector<unsigned> SubtreeLevels(std::uint64_t first, std::uint64_t count);

// A tree that grows by leaves and keeps O(log n) hashes. Not thread-safe.
class CompactTree {
 public:
  CompactTree() = default;
  // `nodes`: the hashes of the perfect subtrees that cover [0, size), largest first. kInvalidArgument when there are
  // not as many as `size` needs.
  static Result<CompactTree> From(std::uint64_t size, std::vector<Hash> nodes);

  void Append(const Hash& leaf) { AppendSubtree(0, leaf); }
  // Appends 2^level leaves by the hash of their subtree. size() must be a multiple of 2^level.
  void AppendSubtree(unsigned level, const Hash& hash);

  std::uint64_t size() const { return size_; }
  Hash Root() const;
  const std::vector<Hash>& nodes() const { return nodes_; }

 private:
  std::uint64_t size_ = 0;
  std::vector<Hash> nodes_;
};

// Whether `proof` shows that `leaf` is number `index` in the tree of `size` leaves with this root (RFC 9162 2.1.3.2).
bool VerifyInclusion(const Hash& leaf, std::uint64_t index, std::uint64_t size, std::span<const Hash> proof,
                     const Hash& root);

}  // namespace hallmark::ledger
