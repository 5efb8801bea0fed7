#include "signerd/ledger/tree_files.h"

#include <gtest/gtest.h>

#include <random>

#include "naive_tree.h"
#include "sample.h"

namespace hallmark::ledger {
namespace {

std::vector<Hash> MakeLeaves(std::size_t count) {
  std::vector<Hash> leaves;
  for (std::size_t i = 0; i < count; ++i) leaves.push_back(LeafHash(AsBytes("record " + std::to_string(i))));
  return leaves;
}

class TreeFilesTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
};

TEST_F(TreeFilesTest, ProofsOfEveryRecordInEveryTreeUpToSeventy) {
  const auto leaves = MakeLeaves(70);
  const auto tree = *TreeFiles::Open(folder_.path(), 0);
  for (std::size_t size = 1; size <= leaves.size(); ++size) {
    ASSERT_TRUE(tree->Append(leaves[size - 1]));
    ASSERT_TRUE(tree->Flush());
    EXPECT_EQ(*tree->Root(size), naive::Root(std::span(leaves).first(size)));
  }
  for (std::size_t size = 1; size <= leaves.size(); ++size) {
    const auto part = std::span(leaves).first(size);
    for (std::size_t i = 0; i < size; ++i) EXPECT_EQ(*tree->InclusionProof(i, size), naive::Path(i, part));
  }
  EXPECT_FALSE(tree->InclusionProof(70, 70));
  EXPECT_FALSE(tree->InclusionProof(0, 71));
}

TEST_F(TreeFilesTest, RandomProofsOfALargeTreeAcrossStarts) {
  const auto leaves = MakeLeaves(20'000);
  std::mt19937 random(4);
  std::size_t size = 0;
  while (size < leaves.size()) {
    const auto opened = TreeFiles::Open(folder_.path(), size);
    ASSERT_TRUE(opened) << opened.error().message;
    const std::size_t end = std::min(leaves.size(), size + random() % 6000);
    // Some are written that nobody answers for: a start cuts them off.
    for (std::size_t i = size; i < leaves.size() && i < end + 100; ++i) ASSERT_TRUE((*opened)->Append(leaves[i]));
    ASSERT_TRUE((*opened)->Flush());
    size = end;
  }
  const auto tree = *TreeFiles::Open(folder_.path(), size);
  const Hash root = naive::Root(leaves);
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t index = random() % size;
    EXPECT_TRUE(VerifyInclusion(leaves[index], index, size, *tree->InclusionProof(index, size), root));
  }
}

// Of the first `cut` records only the subtrees are known: the proofs of all others are the same.
TEST_F(TreeFilesTest, ProvesWhatIsLeftAfterAHole) {
  const auto leaves = MakeLeaves(100);
  for (std::size_t cut = 1; cut < leaves.size(); ++cut) {
    std::filesystem::remove_all(folder_.path() / "hashes");
    const auto tree = *TreeFiles::Open(folder_.path(), 0);
    std::size_t at = 0;
    // Two ranges, as of two deleted segments.
    for (const auto& [first, count] : {std::pair(std::size_t{0}, cut / 3), std::pair(cut / 3, cut - cut / 3)}) {
      for (const unsigned level : SubtreeLevels(first, count)) {
        const std::size_t covered = std::size_t{1} << level;
        ASSERT_TRUE(tree->AppendSubtree(level, naive::Root(std::span(leaves).subspan(at, covered))));
        at += covered;
      }
    }
    for (; at < leaves.size(); ++at) ASSERT_TRUE(tree->Append(leaves[at]));
    ASSERT_TRUE(tree->Flush());
    for (std::size_t i = cut; i < leaves.size(); ++i) {
      const auto proof = tree->InclusionProof(i, leaves.size());
      ASSERT_TRUE(proof) << cut << " " << i << proof.error().message;
      EXPECT_EQ(*proof, naive::Path(i, leaves));
    }
  }
}

// Nothing but one subtree: the files of smaller ones are not there at all.
TEST_F(TreeFilesTest, WhatIsNotKeptIsToldAsThat) {
  const auto leaves = MakeLeaves(8);
  const auto tree = *TreeFiles::Open(folder_.path(), 0);
  ASSERT_TRUE(tree->AppendSubtree(3, naive::Root(leaves)));
  ASSERT_TRUE(tree->Flush());
  EXPECT_EQ(*tree->Root(8), naive::Root(leaves));
  const auto root = tree->Root(5);
  ASSERT_FALSE(root);
  EXPECT_EQ(root.error().reason, Reason::kNotFound) << root.error().message;
}

TEST_F(TreeFilesTest, WhatIsTooShortIsNotOpened) {
  {
    const auto tree = *TreeFiles::Open(folder_.path(), 0);
    for (const Hash& leaf : MakeLeaves(10)) ASSERT_TRUE(tree->Append(leaf));
    ASSERT_TRUE(tree->Flush());
  }
  EXPECT_FALSE(TreeFiles::Open(folder_.path(), 11));
  EXPECT_TRUE(TreeFiles::Open(folder_.path(), 10));
}

}  // namespace
}  // namespace hallmark::ledger
