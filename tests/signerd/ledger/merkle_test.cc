#include "signerd/ledger/merkle.h"

#include <gtest/gtest.h>

#include <random>

#include "firmware/runtime/encoding.h"
#include "naive_tree.h"

namespace hallmark::ledger {
namespace {

std::vector<Hash> MakeLeaves(std::size_t count) {
  std::vector<Hash> leaves;
  for (std::size_t i = 0; i < count; ++i) leaves.push_back(LeafHash(AsBytes("record " + std::to_string(i))));
  return leaves;
}

Hash Flip(Hash hash, std::size_t bit) {
  hash[bit / 8 % 32] ^= static_cast<std::uint8_t>(1 << bit % 8);
  return hash;
}

// The vectors of the Certificate Transparency project (c++/merkletree/merkle_tree_test.cc): leaves, and the root after
// each of them.
TEST(Merkle, CertificateTransparencyVectors) {
  const char* const inputs[] = {
      "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
  const char* const roots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                               "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                               "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                               "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                               "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                               "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                               "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  EXPECT_EQ(HexEncode(EmptyRoot()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CompactTree tree;
  EXPECT_EQ(tree.Root(), EmptyRoot());
  for (std::size_t i = 0; i < std::size(inputs); ++i) {
    tree.Append(LeafHash(*HexDecode(inputs[i])));
    EXPECT_EQ(HexEncode(tree.Root()), roots[i]) << i;
  }
}

TEST(Merkle, CompactTreeGrowsAsTheRfcSays) {
  const auto leaves = MakeLeaves(300);
  CompactTree tree;
  for (std::size_t size = 0; size < leaves.size(); ++size) {
    EXPECT_EQ(tree.Root(), naive::Root(std::span(leaves).first(size))) << size;
    const auto same = CompactTree::From(size, tree.nodes());
    ASSERT_TRUE(same) << size;
    EXPECT_EQ(same->Root(), tree.Root());
    EXPECT_FALSE(CompactTree::From(size + (1u << 20), tree.nodes()));
    tree.Append(leaves[size]);
  }
}

// However a tree is cut into ranges: the subtrees of each, appended, give the same tree.
TEST(Merkle, SubtreesOfRangesMakeTheTree) {
  const auto leaves = MakeLeaves(130);
  for (std::size_t cut = 0; cut <= leaves.size(); ++cut) {
    CompactTree tree;
    for (const auto& [first, count] : {std::pair(std::size_t{0}, cut), std::pair(cut, leaves.size() - cut)}) {
      std::size_t at = first;
      for (const unsigned level : SubtreeLevels(first, count)) {
        EXPECT_EQ(at % (std::size_t{1} << level), 0u);
        tree.AppendSubtree(level, naive::Root(std::span(leaves).subspan(at, std::size_t{1} << level)));
        at += std::size_t{1} << level;
      }
      EXPECT_EQ(at, first + count);
    }
    EXPECT_EQ(tree.size(), leaves.size());
    EXPECT_EQ(tree.Root(), naive::Root(leaves)) << cut;
  }
}

TEST(Merkle, EveryInclusionUpToSeventy) {
  const auto leaves = MakeLeaves(70);
  for (std::size_t size = 1; size <= leaves.size(); ++size) {
    const auto tree = std::span(leaves).first(size);
    const Hash root = naive::Root(tree);
    for (std::size_t index = 0; index < size; ++index) {
      auto proof = naive::Path(index, tree);
      EXPECT_TRUE(VerifyInclusion(leaves[index], index, size, proof, root)) << index << " of " << size;
      EXPECT_FALSE(VerifyInclusion(Flip(leaves[index], index), index, size, proof, root));
      EXPECT_FALSE(VerifyInclusion(leaves[index], index, size, proof, Flip(root, size)));
      EXPECT_FALSE(VerifyInclusion(leaves[index], size, size, proof, root));
      if (size > 1) {
        EXPECT_FALSE(VerifyInclusion(leaves[index], (index + 1) % size, size, proof, root));
      }
      for (Hash& hash : proof) {
        const Hash good = hash;
        hash = Flip(hash, index * 7 + size);
        EXPECT_FALSE(VerifyInclusion(leaves[index], index, size, proof, root));
        hash = good;
      }
      proof.push_back(root);
      EXPECT_FALSE(VerifyInclusion(leaves[index], index, size, proof, root));
      proof.pop_back();
      if (proof.empty()) continue;
      proof.pop_back();
      EXPECT_FALSE(VerifyInclusion(leaves[index], index, size, proof, root));
    }
  }
}

}  // namespace
}  // namespace hallmark::ledger
