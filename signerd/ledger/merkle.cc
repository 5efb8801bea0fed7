#include "signerd/ledger/merkle.h"

#include <openssl/evp.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace hallmark::ledger {
namespace {

// One context a thread: making one for each hash would cost as much as hashing a record does.
class Hasher {
 public:
  Hasher()
      : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free),
        algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr), &EVP_MD_free) {
    Require(context_ != nullptr && algorithm_ != nullptr);
  }

  Hash Of(ByteView head, ByteView tail) {
    Hash hash;
    unsigned size = 0;
    Require(EVP_DigestInit_ex2(context_.get(), algorithm_.get(), nullptr) == 1 &&
            EVP_DigestUpdate(context_.get(), head.data(), head.size()) == 1 &&
            EVP_DigestUpdate(context_.get(), tail.data(), tail.size()) == 1 &&
            EVP_DigestFinal_ex(context_.get(), hash.data(), &size) == 1 && size == hash.size());
    return hash;
  }

 private:
  // SHA-256 fails only when memory is exhausted or OpenSSL is broken; a wrong hash must not leave either way.
  static void Require(bool good) {
    if (!good) std::abort();
  }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> algorithm_;
};

Hash Sha256(ByteView head, ByteView tail) {
  thread_local Hasher hasher;
  return hasher.Of(head, tail);
}

}  // namespace

Hash LeafHash(ByteView record) {
  constexpr std::uint8_t kPrefix[] = {0};
  return Sha256(kPrefix, record);
}

Hash NodeHash(const Hash& left, const Hash& right) {
  std::array<std::uint8_t, 65> octets;
  octets[0] = 1;
  std::memcpy(octets.data() + 1, left.data(), left.size());
  std::memcpy(octets.data() + 33, right.data(), right.size());
  return Sha256(octets, {});
}

Hash EmptyRoot() { return Sha256({}, {}); }

Result<Hash> HashFrom(std::string_view octets) {
  Hash hash;
  if (octets.size() != hash.size()) return MakeError(Reason::kInvalidArgument, "a hash is not of 32 octets");
  std::memcpy(hash.data(), octets.data(), hash.size());
  return hash;
}

std::vector<unsigned> SubtreeLevels(std::uint64_t first, std::uint64_t count) {
  std::vector<unsigned> levels;
  while (count > 0) {
    const unsigned fits = static_cast<unsigned>(std::bit_width(count)) - 1;
    const unsigned level = first == 0 ? fits : std::min(fits, static_cast<unsigned>(std::countr_zero(first)));
    levels.push_back(level);
    first += std::uint64_t{1} << level;
    count -= std::uint64_t{1} << level;
  }
  return levels;
}

Result<CompactTree> CompactTree::From(std::uint64_t size, std::vector<Hash> nodes) {
  if (nodes.size() != static_cast<std::size_t>(std::popcount(size))) {
    return MakeError(Reason::kInvalidArgument, "a tree of " + std::to_string(size) + " leaves has " +
                                                   std::to_string(std::popcount(size)) + " perfect subtrees, not " +
                                                   std::to_string(nodes.size()));
  }
  CompactTree tree;
  tree.size_ = size;
  tree.nodes_ = std::move(nodes);
  return tree;
}

void CompactTree::AppendSubtree(unsigned level, const Hash& hash) {
  Hash merged = hash;
  for (unsigned at = level; (size_ >> at & 1) != 0; ++at) {
    merged = NodeHash(nodes_.back(), merged);
    nodes_.pop_back();
  }
  nodes_.push_back(merged);
  size_ += std::uint64_t{1} << level;
}

Hash CompactTree::Root() const {
  if (nodes_.empty()) return EmptyRoot();
  Hash root = nodes_.back();
  for (std::size_t i = nodes_.size() - 1; i > 0; --i) root = NodeHash(nodes_[i - 1], root);
  return root;
}

bool VerifyInclusion(const Hash& leaf, std::uint64_t index, std::uint64_t size, std::span<const Hash> proof,
                     const Hash& root) {
  if (index >= size) return false;
  std::uint64_t at = index, last = size - 1;
  Hash hash = leaf;
  for (const Hash& sibling : proof) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      hash = NodeHash(sibling, hash);
      while ((at & 1) == 0 && at != 0) at >>= 1, last >>= 1;
    } else {
      hash = NodeHash(hash, sibling);
    }
    at >>= 1, last >>= 1;
  }
  return last == 0 && hash == root;
}

}  // namespace hallmark::ledger
