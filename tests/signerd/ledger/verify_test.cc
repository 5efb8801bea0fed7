#include "signerd/ledger/verify.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <fstream>
#include <map>

#include "random_records.h"
#include "sample.h"
#include "segment_writer.h"
#include "signerd/ledger/export.h"
#include "signerd/ledger/retention.h"
#include "signerd/ledger/tree_files.h"

namespace hallmark::ledger {
namespace {

constexpr std::int64_t kBegun = 1'700'000'000'000'000;   // what SegmentWriter says of each segment
constexpr std::int64_t kLater = kBegun + 1'000'000'000;  // than all records

// A key that signs checkpoints.
class NoteSigner {
 public:
  explicit NoteSigner(const std::string& origin) : key_{origin, {}} {
    std::size_t size = key_.key.size();
    EVP_PKEY_get_raw_public_key(private_key_.get(), key_.key.data(), &size);
  }
  const VerifierKey& key() const { return key_; }
  std::string Sign(const TreeHead& head) const {
    const std::string body = CheckpointBody(key_.name, head);
    Bytes signature(64);
    std::size_t size = signature.size();
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, private_key_.get());
    EVP_DigestSign(context.get(), signature.data(), &size, AsBytes(body).data(), body.size());
    return SignedNote(body, key_, signature);
  }

 private:
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> private_key_{EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"),
                                                                         &EVP_PKEY_free};
  VerifierKey key_;
};

// A ledger of three segments with a checkpoint at the end of each and within the last.
class VerifyTest : public testing::Test {
 protected:
  VerifyTest() {
    for (const std::size_t count : {37, 90, 21}) {
      Append(count);
      Keep();
      if (count != 21) writer_.Rotate();
    }
    Append(5);
  }

  void Append(std::size_t count) {
    for (; count > 0; --count) writer_.Append(random_.Next());
  }
  TreeHead Head(std::uint64_t size) const { return {size, naive::Root(std::span(writer_.leaves()).first(size))}; }
  std::string Note(const TreeHead& head) const { return signer_.Sign(head); }
  void Keep(const NoteSigner& signer) {
    std::ofstream(folder_.path() / "checkpoints", std::ios::binary | std::ios::app)
        << signer.Sign(Head(writer_.size())) << "\n";
  }
  void Keep() { Keep(signer_); }
  Result<Verified> Run(const std::string& kept = "", std::uint64_t first = 0, std::uint64_t end = 0) {
    return Verify({folder_.path(), [this] { return VerifierKeys{key_}; }, kept, first, end,
                   [this] { return Head(writer_.size()); }, [](std::uint64_t, std::uint64_t) { return true; }});
  }
  // What is wrong; "" when the ledger is whole.
  std::string Problem(const std::string& kept = "") {
    const auto verified = Run(kept);
    if (verified) return "";
    EXPECT_EQ(verified.error().reason, Reason::kInvalidArgument) << verified.error().message;
    return verified.error().message;
  }
  std::filesystem::path Segment(std::uint64_t first) const { return SegmentPath(folder_.path(), first); }
  // The deletion of what was begun before `before_us`.
  Result<Pruned> PruneAll(std::int64_t before_us, std::uint64_t indexed) {
    auto tree = TreeFiles::Open(folder_.path(), 0);
    for (const Hash& leaf : writer_.leaves()) EXPECT_TRUE((*tree)->Append(leaf));
    EXPECT_TRUE((*tree)->Flush());
    return Prune({folder_.path(), before_us, indexed, Note(Head(148)), **tree});
  }

  const NoteSigner signer_{"hallmark/test"};
  const VerifierKey& key_ = signer_.key();
  test::TemporaryFolder folder_;
  test::SegmentWriter writer_{folder_.path()};
  test::RandomRecords random_{11};
};

TEST_F(VerifyTest, AWholeLedgerIsWhole) {
  const auto verified = Run();
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(verified->head.size, 153u);
  EXPECT_EQ(verified->checkpoints, 3u);
  EXPECT_EQ(verified->deleted, 0u);
}

TEST_F(VerifyTest, APartIsReadFromItsSegmentToACheckpointBehindIt) {
  const auto part = [&](std::uint64_t first, std::uint64_t end) {
    const auto verified = Run("", first, end);
    EXPECT_TRUE(verified) << verified.error().message;
    return std::pair(verified->first, verified->end);
  };
  EXPECT_EQ(part(5, 6), std::pair(0ul, 37ul));
  EXPECT_EQ(part(40, 50), std::pair(37ul, 127ul));
  EXPECT_EQ(part(36, 38), std::pair(0ul, 127ul));
  EXPECT_EQ(part(130, 148), std::pair(127ul, 148ul));
  EXPECT_EQ(part(130, 149), std::pair(127ul, 153ul));  // not under a checkpoint yet
  EXPECT_EQ(part(130, 0), std::pair(127ul, 153ul));

  // Damage is found by who reads the part that has it.
  const std::string octets = *ReadFile(Segment(37));
  std::string flipped = octets;
  flipped[flipped.size() / 2] ^= 1;
  std::ofstream(Segment(37), std::ios::binary) << flipped;
  EXPECT_EQ(part(5, 6), std::pair(0ul, 37ul));
  EXPECT_FALSE(Run("", 40, 50));
  EXPECT_EQ(part(130, 0), std::pair(127ul, 153ul));
  std::ofstream(Segment(37), std::ios::binary) << octets;

  // A header that says another tree than that of the records before does not lead to what was signed.
  auto reader = SegmentReader::Open(Segment(127));
  SegmentHeader header = reader->header();
  header.frontier[0][0] ^= 1;
  const std::string last = *ReadFile(Segment(127));
  std::ofstream(Segment(127), std::ios::binary) << EncodeSegmentStart(header) + last.substr(reader->offset());
  EXPECT_FALSE(Run("", 130, 148));
  EXPECT_FALSE(Run("", 130, 0));
  std::ofstream(Segment(127), std::ios::binary) << last;

  // Of deleted records there is no checkpoint but at the end of a segment.
  ASSERT_TRUE(PruneAll(kLater, 153));
  EXPECT_EQ(part(5, 6).first, 0u);
  EXPECT_EQ(part(40, 50).first, 37u);
  EXPECT_EQ(Run("", 40, 50)->deleted, 90u);
}

TEST_F(VerifyTest, EveryFlippedBitIsFound) {
  for (const std::uint64_t first : {0u, 37u, 127u}) {
    const std::string octets = *ReadFile(Segment(first));
    for (std::size_t at = 0; at < octets.size(); at += 1 + octets.size() / 60) {
      std::string flipped = octets;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
      std::ofstream(Segment(first), std::ios::binary) << flipped;
      EXPECT_NE(Problem(), "") << first << " octet " << at;
    }
    std::ofstream(Segment(first), std::ios::binary) << octets;
  }
  EXPECT_EQ(Problem(), "");
}

TEST_F(VerifyTest, ForgedSegmentsAreFound) {
  // As one who knows the format would: right lengths and CRCs.
  const std::string octets = *ReadFile(Segment(37));
  std::vector<std::string> records;
  auto reader = SegmentReader::Open(Segment(37));
  const std::string start = octets.substr(0, reader->offset());
  while (true) {
    const auto record = reader->Next();
    ASSERT_TRUE(record);
    if (!*record) break;
    records.emplace_back(**record);
  }
  const auto forged = [&](const std::vector<std::string>& changed) {
    std::string segment = start;
    for (const std::string& record : changed) AppendFrame(segment, record);
    std::ofstream(Segment(37), std::ios::binary) << segment;
    return Problem();
  };
  EXPECT_EQ(forged(records), "");
  auto changed = records;
  std::swap(changed[3], changed[4]);
  EXPECT_NE(forged(changed).find("changed, removed, put in or moved"), std::string::npos);
  changed = records;
  changed.erase(changed.begin() + 3);
  EXPECT_NE(forged(changed).find("removed"), std::string::npos);
  changed = records;
  changed.insert(changed.begin() + 3, records[9]);
  EXPECT_NE(forged(changed), "");
  std::ofstream(Segment(37), std::ios::binary) << octets;
  std::filesystem::resize_file(Segment(127), std::filesystem::file_size(Segment(127)) - 5);
  EXPECT_NE(Problem(), "");
}

TEST_F(VerifyTest, ALedgerThatWasPutBackIsNotWhatWasKept) {
  const std::string kept = Note(Head(150)) + "\n";
  EXPECT_EQ(Problem(kept), "");
  TreeHead other = Head(150);
  other.root[0] ^= 1;
  EXPECT_NE(Problem(Note(other) + "\n"), "");
  EXPECT_NE(Problem(Note({1000, other.root}) + "\n").find("cut off or put back"), std::string::npos);
  EXPECT_NE(Problem("nonsense"), "");
  EXPECT_NE(Problem("\n\n").find("there is no checkpoint"), std::string::npos);
}

TEST_F(VerifyTest, ACheckpointPlayedAgainIsFound) {
  std::ofstream(folder_.path() / "checkpoints", std::ios::binary | std::ios::app) << Note(Head(37)) << "\n";
  EXPECT_NE(Problem().find("comes after one of"), std::string::npos);
}

TEST_F(VerifyTest, RetentionDeletesWholeSegmentsAndTheRestIsProved) {
  auto pruned = PruneAll(kBegun, 153);  // the next segment is not older
  ASSERT_TRUE(pruned) << pruned.error().message;
  EXPECT_EQ(pruned->segments, 0u);
  pruned = PruneAll(kLater, 100);  // only what is indexed
  ASSERT_TRUE(pruned) << pruned.error().message;
  EXPECT_EQ(pruned->segments, 1u);
  EXPECT_EQ(pruned->first, 37u);
  EXPECT_EQ(Problem(), "");
  // A deletion that was cut short leaves both.
  const std::string octets = *ReadFile(Segment(37));
  pruned = PruneAll(kLater, 153);
  ASSERT_TRUE(pruned);
  EXPECT_EQ(pruned->first, 127u);  // the last one stays, whatever its age
  std::ofstream(Segment(37), std::ios::binary) << octets;
  EXPECT_EQ(Problem(), "");
  pruned = PruneAll(kLater, 153);
  EXPECT_EQ(pruned->segments, 1u);
  EXPECT_FALSE(std::filesystem::exists(Segment(37)));
  const auto verified = Run();
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(verified->deleted, 127u);
  EXPECT_EQ(verified->head.size, 153u);
  // What is kept of a deleted segment is as good as the segment.
  const auto path = SegmentPath(folder_.path(), 37, true);
  auto kept = *ReadPruned(path);
  kept.nodes[1][5] ^= 1;
  std::ofstream(path, std::ios::binary) << EncodePruned(kept);
  EXPECT_NE(Problem(), "");
}

// The segments say that they were begun with the first record: by a clock that was behind, or was set back.
TEST_F(VerifyTest, RetentionDeletesNoSegmentWithARecordThatIsYoung) {
  const auto pruned = PruneAll(test::kFirstTimeUs + 1'000'000 * 50, 153);
  ASSERT_TRUE(pruned) << pruned.error().message;
  EXPECT_EQ(pruned->first, 37u) << "its newest record is of second 126";
  EXPECT_EQ(PruneAll(test::kFirstTimeUs + 1'000'000 * 126, 153)->first, 37u);
  EXPECT_EQ(PruneAll(test::kFirstTimeUs + 1'000'000 * 126 + 1, 153)->first, 127u);
}

TEST_F(VerifyTest, RetentionEndsBetweenTwoSegmentsWhereItIsToStop) {
  auto tree = TreeFiles::Open(folder_.path(), 0);
  for (const Hash& leaf : writer_.leaves()) EXPECT_TRUE((*tree)->Append(leaf));
  EXPECT_TRUE((*tree)->Flush());
  int asked = 0;
  const auto pruned = Prune({folder_.path(), kLater, 153, Note(Head(148)), **tree, [&] { return ++asked < 2; }});
  ASSERT_TRUE(pruned) << pruned.error().message;
  EXPECT_EQ(pruned->segments, 1u);
  EXPECT_EQ(pruned->first, 37u);
}

// Whoever writes to the folder, without the token, can make what retention keeps of a segment.
TEST_F(VerifyTest, ADeletedSegmentBehindOneThatIsThereWasNotDeletedByRetention) {
  const std::string oldest = *ReadFile(Segment(0));
  ASSERT_TRUE(PruneAll(kLater, 153));
  EXPECT_EQ(Problem(), "");
  std::ofstream(Segment(0), std::ios::binary) << oldest;
  for (const bool both : {true, false}) {
    if (!both) std::filesystem::remove(SegmentPath(folder_.path(), 0, true));
    EXPECT_NE(Problem().find("00000000000000000037.pruned: records 37 to 126 are deleted, but older ones are there"),
              std::string::npos)
        << Problem();
    EXPECT_FALSE(Run("", 40, 50)) << "who reads the part that has it is told";
    EXPECT_TRUE(Run("", 130, 0));
  }
}

TEST_F(VerifyTest, AnExportIsTheLedger) {
  const auto copy = folder_.path() / "copy";
  std::filesystem::create_directories(copy / "segments");
  ASSERT_TRUE(PruneAll(kLater, 100));
  const std::uint64_t end = writer_.size();
  Append(3);  // after the moment of the export
  std::map<std::string, std::uint64_t> lengths;
  const auto done = Export({folder_.path(), [&] { return VerifierKeys{key_}; }, [&] { return Head(end); },
                            [&](const std::string& path, std::uint64_t octets) {
                              EXPECT_TRUE(lengths.emplace(path, octets).second) << path;
                              return Ok();
                            },
                            [&](const std::string& path, std::string_view octets, std::uint64_t) {
                              std::ofstream(copy / path, std::ios::binary | std::ios::app) << octets;
                              return true;
                            }});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(*done, end);
  const auto keys = [&] { return VerifierKeys{key_}; };
  const auto verified = Verify({copy, keys, "", 0, 0, [&] { return Head(end); }, [](auto, auto) { return true; }});
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(verified->head.size, end);
  EXPECT_EQ(*ReadFile(copy / "verifier-key"), key_.Text() + "\n");
  for (const auto& [path, octets] : lengths) EXPECT_EQ(std::filesystem::file_size(copy / path), octets) << path;
  EXPECT_TRUE(lengths.contains("checkpoints") && lengths.contains("segments/00000000000000000127.seg"));
}

// An auditor who kept a checkpoint is not told that all is well where nothing could be compared with it.
TEST_F(VerifyTest, WhatCannotBeComparedIsSaid) {
  std::string said;
  const auto not_compared = [&](const std::string& kept, std::uint64_t first = 0, std::uint64_t end = 0) {
    const auto verified = Run(kept, first, end);
    EXPECT_TRUE(verified) << verified.error().message;
    said = NotCompared(*verified);
    EXPECT_EQ(said.empty(), verified->not_compared.empty());
    return verified->not_compared;
  };
  using Sizes = std::vector<std::uint64_t>;
  const std::string kept = Note(Head(20)) + "\n" + Note(Head(37)) + "\n" + Note(Head(100)) + "\n" + Note(Head(150));
  EXPECT_EQ(not_compared(kept), Sizes{});
  EXPECT_EQ(not_compared(kept, 130, 148), (Sizes{20, 37, 100, 150})) << "outside of the part";
  EXPECT_EQ(said.find("only hashes"), std::string::npos) << said;
  ASSERT_TRUE(PruneAll(kLater, 153));
  EXPECT_EQ(not_compared(kept, 40), (Sizes{20, 37, 100}));
  EXPECT_NE(said.find("of records 37 to 126 only hashes are left"), std::string::npos) << said;
  // At the end of a segment, and where a deleted one's own hashes meet, there is a tree; otherwise there is none.
  EXPECT_EQ(not_compared(kept), (Sizes{20, 100}));
  EXPECT_NE(said.find("of records 0 to 126 only hashes are left"), std::string::npos) << said;
  EXPECT_EQ(not_compared(Note(Head(37))), Sizes{});
  EXPECT_EQ(not_compared(Note(Head(96))), Sizes{});
  TreeHead other = Head(37);
  other.root[0] ^= 1;
  EXPECT_NE(Problem(Note(other)), "");
}

// The records are the truth, the hashes derived from them: they go only where those are right.
TEST_F(VerifyTest, NothingIsDeletedWhoseHashesAreWrong) {
  auto tree = TreeFiles::Open(folder_.path(), 0);
  for (std::size_t i = 0; i < writer_.leaves().size(); ++i) {
    Hash leaf = writer_.leaves()[i];
    if (i == 50) leaf[3] ^= 1;
    ASSERT_TRUE((*tree)->Append(leaf));
  }
  ASSERT_TRUE((*tree)->Flush());
  const auto pruned = Prune({folder_.path(), kLater, 153, Note(Head(148)), **tree});
  ASSERT_FALSE(pruned);
  EXPECT_EQ(pruned.error().reason, Reason::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(Segment(0))) << "its hashes were right";
  EXPECT_TRUE(std::filesystem::exists(Segment(37)));
  EXPECT_FALSE(std::filesystem::exists(SegmentPath(folder_.path(), 37, true)));
}

// The token with the first key was lost; another one signs from then on, on a box with another name.
TEST_F(VerifyTest, AnotherKeyTakesOver) {
  const NoteSigner next("hallmark/new");
  const auto run = [&](const VerifierKeys& keys) {
    return Verify({folder_.path(), [&] { return keys; }, "", 0, 0, [this] { return Head(writer_.size()); },
                   [](auto, auto) { return true; }});
  };
  Keep(next);
  Append(7);
  Keep(next);
  const auto verified = run({key_, next.key()});
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(verified->checkpoints, 5u);
  EXPECT_FALSE(run({next.key(), key_})) << "the keys are in the wrong order";
  EXPECT_FALSE(run({next.key()})) << "the first key is not known";
  EXPECT_FALSE(run({key_})) << "the second key is not known";

  Append(1);
  Keep(signer_);  // whoever has the lost token
  const auto late = run({key_, next.key()});
  ASSERT_FALSE(late);
  EXPECT_NE(late.error().message.find("replaced before"), std::string::npos) << late.error().message;
}

// The keys that are asked for are those of the checkpoints that are read: what another one signs meanwhile comes later.
TEST_F(VerifyTest, AKeyMayTakeOverMeanwhile) {
  const NoteSigner next("hallmark/new");
  const std::uint64_t end = writer_.size();
  const auto keys = [&] {
    Append(1);
    Keep(next);
    return VerifierKeys{key_};
  };
  const auto verified =
      Verify({folder_.path(), keys, "", 0, 0, [&] { return Head(end); }, [](auto, auto) { return true; }});
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(verified->checkpoints, 3u);

  const std::size_t octets = std::filesystem::file_size(folder_.path() / "checkpoints");
  std::map<std::string, std::string> files;
  const auto both = [&] {
    Append(1);
    Keep(NoteSigner("hallmark/third"));
    return VerifierKeys{key_, next.key()};
  };
  const auto exported = Export({folder_.path(),
                                both,
                                [this] { return Head(writer_.size()); },
                                {},
                                [&](const std::string& path, std::string_view piece, std::uint64_t) {
                                  files[path] += piece;
                                  return true;
                                }});
  ASSERT_TRUE(exported) << exported.error().message;
  EXPECT_EQ(files["checkpoints"].size(), octets);
  EXPECT_EQ(files["verifier-key"], TextOf({key_, next.key()}));
}

TEST_F(VerifyTest, WithoutTheKeysNothingIsSaid) {
  const auto keys = [] { return Result<VerifierKeys>(MakeError(Reason::kNotFound, "there is none")); };
  const auto head = [this] { return Head(writer_.size()); };
  EXPECT_EQ(Verify({folder_.path(), keys, "", 0, 0, head, [](auto, auto) { return true; }}).error().reason,
            Reason::kNotFound);
  EXPECT_EQ(Export({folder_.path(), keys, head, {}, [](auto, auto, auto) { return true; }}).error().reason,
            Reason::kNotFound);
}

TEST_F(VerifyTest, VerifierKeysAreLines) {
  const VerifierKeys keys = {key_, NoteSigner("hallmark/new").key()};
  EXPECT_EQ(*ParseVerifierKeys(TextOf(keys)), keys);
  EXPECT_EQ(*ParseVerifierKeys(key_.Text()), VerifierKeys{key_});
  EXPECT_FALSE(ParseVerifierKeys(""));
  EXPECT_FALSE(ParseVerifierKeys(TextOf(keys) + "nonsense\n"));
}

}  // namespace
}  // namespace hallmark::ledger
