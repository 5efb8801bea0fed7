#include "signerd/ledger/index.h"

#include <gtest/gtest.h>

#include "random_records.h"
#include "sample.h"
#include "segment_writer.h"

namespace hallmark::ledger {
namespace {

constexpr std::size_t kRecords = 3 * Index::kPartRecords / 2;  // one written part, and half of one in memory

// A ledger of two segments, indexed; made once.
class IndexTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ledger_ = new Ledger();
    test::RandomRecords random(1);
    for (int half = 0; half < 2; ++half) {
      if (half == 1) ledger_->writer.Rotate();
      std::vector<v1::Record> batch(kRecords / 2);
      for (auto& record : batch) record = random.Next();
      ledger_->writer.Append(batch);
    }
    ledger_->Reopen();
  }
  static void TearDownTestSuite() { delete ledger_; }

  struct Ledger {
    test::TemporaryFolder folder;
    test::SegmentWriter writer{folder.path()};
    std::unique_ptr<Index> index;

    // As after a start: what is in no written part is read again.
    void Reopen() {
      index.reset();
      index = *Index::Open(folder.path());
      for (const SegmentFile& file : *ListSegments(folder.path())) {
        auto reader = *SegmentReader::Open(file.path);
        while (true) {
          const std::uint64_t offset = reader.offset(), sequence = reader.next_sequence();
          const auto octets = reader.Next();
          if (!*octets) break;
          if (sequence < index->size()) continue;
          v1::Record record;
          record.ParseFromArray((*octets)->data(), static_cast<int>((*octets)->size()));
          index->Add(record, offset);
          if (index->full()) {
            EXPECT_TRUE(index->WritePart());
          }
        }
      }
    }
  };

  static std::vector<std::uint64_t> Scan(const Query& query) {
    std::vector<std::uint64_t> found;
    for (std::size_t i = 0; i < ledger_->writer.records().size(); ++i) {
      if (Fits(query, ledger_->writer.records()[i])) found.push_back(i);
    }
    return found;
  }

  // Every page of a search.
  static std::vector<std::uint64_t> SearchAll(const Query& query, bool oldest_first, std::size_t most) {
    std::vector<std::uint64_t> found;
    SearchPage page{oldest_first, most, std::nullopt};
    while (true) {
      const auto result = ledger_->index->Search(query, page);
      EXPECT_TRUE(result) << result.error().message;
      if (!result) return found;
      EXPECT_LE(result->hits.size(), most);
      for (const Hit& hit : result->hits) {
        EXPECT_EQ(hit.octets, ledger_->writer.records()[hit.sequence].SerializeAsString());
        found.push_back(hit.sequence);
      }
      if (!result->more) return found;
      page.after = found.back();
    }
  }

  static void Compare(const Query& query, std::size_t most) {
    auto expected = Scan(query);
    EXPECT_EQ(SearchAll(query, true, most), expected);
    std::reverse(expected.begin(), expected.end());
    EXPECT_EQ(SearchAll(query, false, most), expected);
  }
  static inline Ledger* ledger_ = nullptr;
};

TEST_F(IndexTest, FindsWhatAScanFinds) {
  test::RandomRecords random(2);
  for (int i = 0; i < 60; ++i) {
    Query query;
    if (random.Below(2) == 0) query.partner = random.Partner();
    if (random.Below(2) == 0) query.domain = random.Domain();
    if (random.Below(3) == 0) query.recipient = random.Recipient();
    if (!query.recipient.empty() && random.Below(2) == 0) query.recipient_hash = "hash of " + query.recipient;
    if (random.Below(3) == 0) query.from = random.From();
    if (random.Below(4) == 0) query.message_id = random.MessageId();
    if (random.Below(4) == 0) query.kind = random.Below(2) == 0 ? "signature" : "alert";
    if (random.Below(3) == 0) query.since_us = test::kFirstTimeUs + 1'000'000LL * random.Below(kRecords);
    if (random.Below(3) == 0) query.until_us = test::kFirstTimeUs + 1'000'000LL * random.Below(kRecords);
    if (TermsOf(query).empty()) continue;
    Compare(query, 1 + random.Below(500));
  }
}

TEST_F(IndexTest, FindsByTimeAndKindAlone) {
  Query range;
  range.since_us = test::kFirstTimeUs + 1'000'000LL * (Index::kPartRecords - 100);
  range.until_us = range.since_us + 200'000'000;
  Compare(range, 37);
  Query acts;
  acts.kind = "admin_act";
  Compare(acts, 100);
  Query nothing;
  nothing.partner = "nobody";
  Compare(nothing, 10);
}

// Acts say what they change, up to half a megabyte: a thousand of them are no answer.
TEST_F(IndexTest, APageOfLargeRecordsHasFewer) {
  Ledger large;
  v1::Record act;
  act.mutable_admin_act()->add_changes(std::string(512 << 10, 'x'));
  for (int i = 0; i < 40; ++i) large.writer.Append(act);
  large.Reopen();
  SearchPage page{true, 1000, std::nullopt};
  std::size_t found = 0;
  while (true) {
    const auto result = large.index->Search({}, page);
    ASSERT_TRUE(result);
    EXPECT_LE(result->hits.size(), 17u);
    found += result->hits.size();
    if (!result->more) break;
    page.after = result->hits.back().sequence;
  }
  EXPECT_EQ(found, 40u);
}

TEST_F(IndexTest, FormsOfOneValueAreTheSame) {
  Query with, without, other_case;
  with.message_id = "<77@example.com>";
  without.message_id = "77@example.com";
  EXPECT_EQ(Scan(with), Scan(without));
  EXPECT_FALSE(Scan(with).empty());
  Compare(without, 100);
  other_case.from = "author3@EXAMPLE.com";
  EXPECT_FALSE(Scan(other_case).empty());
  Compare(other_case, 1000);
}

TEST_F(IndexTest, TotalsAreThoseOfAScanAcrossAStart) {
  const auto check = [&] {
    std::map<std::int64_t, std::map<std::string, DayTotal>> expected;
    for (const v1::Record& record : ledger_->writer.records()) {
      if (!record.has_signature() || record.signature().index() != 0) continue;
      DayTotal& total = expected[record.time_us() / 86'400'000'000][record.signature().partner()];
      total.messages += 1;
      total.recipients += std::max<std::int64_t>(1, record.signature().recipient_count());
    }
    EXPECT_GE(expected.size(), 1u);
    for (const auto& [day, totals] : expected) EXPECT_EQ(*ledger_->index->Totals(day), totals) << day;
    EXPECT_TRUE(ledger_->index->Totals(1)->empty());
  };
  check();
  ledger_->Reopen();
  EXPECT_EQ(ledger_->index->size(), kRecords);
  check();
  Query query;
  query.partner = "partner1";
  query.message_id = "5@example.com";
  Compare(query, 10);
}

TEST_F(IndexTest, PlacesLeadToRecords) {
  test::RandomRecords random(3);
  RecordReader reader(ledger_->folder.path());
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t sequence = random.Below(kRecords);
    const auto place = ledger_->index->PlaceNear(sequence);
    ASSERT_TRUE(place && *place) << sequence;
    EXPECT_LT(sequence - (*place)->sequence, 256u);
    const auto octets = reader.Read(sequence, *place);
    ASSERT_TRUE(octets) << octets.error().message;
    EXPECT_EQ(*octets, ledger_->writer.records()[sequence].SerializeAsString());
  }
  EXPECT_EQ(reader.Read(kRecords).error().reason, Reason::kNotFound);
}

}  // namespace
}  // namespace hallmark::ledger
