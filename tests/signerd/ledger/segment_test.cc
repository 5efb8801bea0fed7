#include "signerd/ledger/segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "sample.h"

namespace hallmark::ledger {
namespace {

using testing::HasSubstr;

class SegmentTest : public testing::Test {
 protected:
  // Writes octets as a segment and gives its path.
  std::filesystem::path Write(const std::string& octets, const std::string& name = "00000000000000000000.seg") {
    const auto path = folder_.path() / "segments" / name;
    std::filesystem::create_directories(path.parent_path());
    std::filesystem::remove(path);  // to cut an old file is slow on some disks
    std::ofstream(path, std::ios::binary | std::ios::trunc) << octets;
    return path;
  }
  test::TemporaryFolder folder_;
};

std::string Record(std::size_t i) { return "record " + std::to_string(i) + std::string(i * 37 % 900, 'x'); }

bool AtEnd(SegmentReader& reader) {
  const auto record = reader.Next();
  return record && !*record;
}

SegmentHeader SampleHeader(std::uint64_t first) {
  CompactTree tree;
  for (std::uint64_t i = 0; i < first; ++i) tree.Append(LeafHash(AsBytes(Record(i))));
  return {first, tree.nodes(), 1'700'000'000'000'000};
}

TEST_F(SegmentTest, GivesBackWhatWasWritten) {
  std::string octets = EncodeSegmentStart(SampleHeader(11));
  std::vector<std::uint64_t> offsets;
  for (std::size_t i = 11; i < 2000; ++i) {
    offsets.push_back(octets.size());
    AppendFrame(octets, Record(i));
  }
  auto reader = SegmentReader::Open(Write(octets));
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->header().first, 11u);
  EXPECT_EQ(reader->header().frontier, SampleHeader(11).frontier);
  EXPECT_EQ(reader->header().created_us, 1'700'000'000'000'000);
  for (std::size_t i = 11; i < 2000; ++i) {
    EXPECT_EQ(reader->next_sequence(), i);
    EXPECT_EQ(reader->offset(), offsets[i - 11]);
    const auto record = reader->Next();
    ASSERT_TRUE(record && *record) << i;
    EXPECT_EQ(**record, Record(i));
  }
  EXPECT_TRUE(AtEnd(*reader));
  reader->Seek(offsets[100], 111);
  ASSERT_TRUE(reader->Skip(50));
  EXPECT_EQ(**reader->Next(), Record(161));
  EXPECT_FALSE(reader->Skip(2000));
}

TEST_F(SegmentTest, GrowsWhileItIsRead) {
  const auto path = Write(EncodeSegmentStart(SampleHeader(0)));
  auto reader = SegmentReader::Open(path);
  ASSERT_TRUE(reader);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(AtEnd(*reader));
    std::string frame;
    AppendFrame(frame, Record(i));
    std::ofstream(path, std::ios::binary | std::ios::app) << frame.substr(0, 5);
    EXPECT_FALSE(reader->Next());
    std::ofstream(path, std::ios::binary | std::ios::app) << frame.substr(5);
    const auto record = reader->Next();
    ASSERT_TRUE(record && *record);
    EXPECT_EQ(**record, Record(i));
  }
}

TEST_F(SegmentTest, TakesTheLargestRecordAndNoLarger) {
  std::string octets = EncodeSegmentStart(SampleHeader(0));
  AppendFrame(octets, std::string(kMaxRecordOctets, 'a'));
  AppendFrame(octets, std::string(kMaxRecordOctets + 1, 'b'));
  auto reader = SegmentReader::Open(Write(octets));
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader->Next())->size(), kMaxRecordOctets);
  EXPECT_THAT(reader->Next().error().message, HasSubstr("record 1: the frame's length is 1048577"));
}

// Every bit of a small segment, and every length of it: nothing that was changed reads as if it had not been.
TEST_F(SegmentTest, EveryFlippedBitAndEveryCutIsFound) {
  std::string octets = EncodeSegmentStart(SampleHeader(3));
  const std::size_t start = octets.size();
  std::vector<std::size_t> ends = {start};
  for (std::size_t i = 3; i < 6; ++i) {
    AppendFrame(octets, "record " + std::to_string(i));
    ends.push_back(octets.size());
  }
  const auto count = [&](const std::string& changed) -> std::optional<std::size_t> {
    auto reader = SegmentReader::Open(Write(changed));
    if (!reader) return std::nullopt;
    std::size_t records = 0;
    while (true) {
      const auto record = reader->Next();
      if (!record) {
        EXPECT_THAT(record.error().message, HasSubstr("offset " + std::to_string(ends[records])));
        EXPECT_THAT(record.error().message, HasSubstr("record " + std::to_string(records + 3)));
        EXPECT_EQ(reader->offset(), ends[records]);
        return std::nullopt;
      }
      if (!*record) return records;
      ++records;
    }
  };
  EXPECT_EQ(count(octets), 3u);
  for (std::size_t bit = 0; bit < octets.size() * 8; ++bit) {
    std::string changed = octets;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(count(changed), std::nullopt) << bit;
  }
  for (std::size_t size = 0; size < octets.size(); ++size) {
    const auto whole = std::find(ends.begin(), ends.end(), size);
    const auto expected = whole == ends.end() ? std::nullopt : std::optional<std::size_t>(whole - ends.begin());
    EXPECT_EQ(count(octets.substr(0, size)), expected) << size;
  }
}

TEST_F(SegmentTest, PrunedGivesBackWhatWasWritten) {
  // 5, 6 and 7, 8 and 9, 10: four subtrees, not five.
  const PrunedSegment pruned{SampleHeader(5), 6, std::vector<Hash>(5), "a note\n"};
  PrunedSegment right = pruned;
  right.nodes.resize(4);
  const std::string octets = EncodePruned(right);
  const auto read = ReadPruned(Write(octets, "00000000000000000005.pruned"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->count, 6u);
  EXPECT_EQ(read->nodes, right.nodes);
  EXPECT_EQ(read->checkpoint, "a note\n");
  EXPECT_FALSE(ReadPruned(Write(EncodePruned(pruned), "00000000000000000005.pruned")));
  for (std::size_t bit = 0; bit < octets.size() * 8; ++bit) {
    std::string changed = octets;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(ReadPruned(Write(changed, "00000000000000000005.pruned"))) << bit;
  }
}

TEST_F(SegmentTest, ListsInOrderAndPrefersTheWholeOne) {
  EXPECT_TRUE(ListSegments(folder_.path())->empty());
  for (const char* name : {"00000000000000000020.seg", "00000000000000000000.pruned", "00000000000000000010.pruned",
                           "00000000000000000010.seg", "00000000000000000010.pruned.Xabcde", "notes", "1.seg"}) {
    Write("", name);
  }
  const auto files = ListSegments(folder_.path());
  ASSERT_TRUE(files);
  ASSERT_EQ(files->size(), 3u);
  EXPECT_TRUE((*files)[0].pruned);
  EXPECT_FALSE((*files)[1].pruned);
  EXPECT_EQ((*files)[1].first, 10u);
  EXPECT_EQ((*files)[2].path, SegmentPath(folder_.path(), 20));
  std::filesystem::remove(SegmentPath(folder_.path(), 0, true));
  EXPECT_THAT(ListSegments(folder_.path()).error().message, HasSubstr("before record 10 are missing"));
}

}  // namespace
}  // namespace hallmark::ledger
