#include "signerd/ledger/index.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstring>
#include <thread>

#include "random_records.h"
#include "sample.h"
#include "segment_writer.h"

namespace hallmark::ledger {
namespace {

constexpr std::size_t kRecords = 3 * Index::kPartRecords / 2;  // one written part, and half of one in memory

struct Ledger {
  test::TemporaryFolder folder;
  test::SegmentWriter writer{folder.path()};
  std::unique_ptr<Index> index;
  std::uint64_t most_in_memory = 0;  // records

  // As after a start: what is in no written part is read again.
  void Reopen() {
    index.reset();
    index = *Index::Open(folder.path());
    AddAll();
  }
  void AddAll() {
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
        most_in_memory = std::max(most_in_memory, index->size() - index->written());
        if (index->full()) {
          EXPECT_TRUE(index->WritePart());
        }
      }
    }
  }
};

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

// Messages with as many recipients as one may have. What Wanted() gives is found in one record only.
class IndexOfLargeRecordsTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kLarge = 220, kRecipients = 10'000;

  static std::string Hash(std::uint64_t record, std::uint64_t recipient) {
    return std::to_string(record * kRecipients + recipient);
  }
  static Query Wanted(std::uint64_t record) {
    Query query;
    query.recipient = "somebody";
    query.recipient_hash = Hash(record, record * 7 % kRecipients);
    return query;
  }
  static std::vector<std::uint64_t> Found(const Index& index, const Query& query) {
    const auto result = index.Search(query, {});
    EXPECT_TRUE(result) << result.error().message;
    std::vector<std::uint64_t> found;
    for (const Hit& hit : result->hits) found.push_back(hit.sequence);
    return found;
  }

  void SetUp() override {
    for (std::uint64_t number = 0; number < kLarge; ++number) {
      v1::Record record;
      for (std::uint64_t i = 0; i < kRecipients; ++i) {
        record.mutable_signature()->add_recipient_hashes(Hash(number, i));
      }
      large_.writer.Append(record);
    }
  }
  Ledger large_;
};

TEST_F(IndexOfLargeRecordsTest, TheyEndAPartEarlierAndAreFoundInEach) {
  large_.Reopen();
  EXPECT_LE(large_.most_in_memory * kRecipients, Index::kPartPostings + kRecipients);
  const std::uint64_t written = large_.index->written();
  EXPECT_GT(written, large_.most_in_memory) << "several parts";
  EXPECT_LT(written, kLarge) << "and one in memory";
  RecordReader reader(large_.folder.path());
  const auto check = [&](std::uint64_t first) {
    for (std::uint64_t number = 0; number < kLarge; number += number % 8 == 0 ? 1 : 7) {
      const std::vector<std::uint64_t> expected(number < first ? 0 : 1, number);
      ASSERT_EQ(Found(*large_.index, Wanted(number)), expected);
      const auto place = large_.index->PlaceNear(number);
      ASSERT_TRUE(place);
      ASSERT_EQ(place->has_value(), number >= first) << number;
      const auto octets = reader.Read(number, *place);
      ASSERT_TRUE(octets) << number << ": " << octets.error().message;
      ASSERT_EQ(*octets, large_.writer.records()[number].SerializeAsString());
    }
  };
  check(0);
  large_.Reopen();
  EXPECT_EQ(large_.index->size(), kLarge);
  EXPECT_EQ(large_.index->written(), written);
  check(0);

  const std::uint64_t part = large_.most_in_memory;
  const auto go_on = [] { return true; };
  ASSERT_TRUE(large_.index->DropBefore(part - 1, go_on));  // its last record is kept
  check(0);
  ASSERT_TRUE(large_.index->DropBefore(part, go_on));
  check(part);
  ASSERT_TRUE(large_.index->DropBefore(kLarge, go_on)) << "the last one stays: it says where to go on";
  large_.Reopen();
  EXPECT_EQ(large_.index->size(), kLarge);
  check(written - part);
}

TEST_F(IndexOfLargeRecordsTest, TheyAreFoundWhileAPartIsWritten) {
  large_.index = *Index::Open(large_.folder.path());
  std::atomic<bool> done = false;
  std::thread adding([&] {
    large_.AddAll();
    done = true;
  });
  for (std::uint64_t i = 0; !done; ++i) {
    const std::uint64_t size = large_.index->size();
    if (size == 0) continue;
    EXPECT_EQ(Found(*large_.index, Wanted(i % size)), std::vector{i % size});
  }
  adding.join();
}

TEST_F(IndexTest, ARecipientThatIsNamedOftenCountsOnce) {
  Ledger repeated;
  v1::Record record;
  record.mutable_signature()->set_partner("own");
  for (int i = 0; i < 10'000; ++i) record.mutable_signature()->add_recipients("one@example.org");
  const std::size_t count = 2 * Index::kPartPostings / 10'000;
  repeated.writer.Append(std::vector(count, record));
  repeated.Reopen();
  EXPECT_EQ(repeated.index->written(), 0u) << "all of them are in memory";
  Query query;
  query.recipient = "one@example.org";
  const auto result = repeated.index->Search(query, {true, 1'000'000, std::nullopt});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->hits.front().sequence, 0u);
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

// How often a folder was listed.
class Listings {
 public:
  explicit Listings(const std::filesystem::path& folder) : file_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    // With the ends of reading in between, or the kernel would tell of several beginnings as one.
    EXPECT_GE(::inotify_add_watch(file_.get(), folder.c_str(), IN_OPEN | IN_CLOSE_NOWRITE | IN_ONLYDIR), 0);
  }
  int Count() const {
    int count = 0;
    alignas(inotify_event) char octets[4096];
    for (ssize_t got = 0; (got = ::read(file_.get(), octets, sizeof octets)) > 0;) {
      for (const char* at = octets; at < octets + got;) {
        inotify_event event;
        std::memcpy(&event, at, sizeof event);
        if ((event.mask & IN_Q_OVERFLOW) != 0) return INT_MAX;
        if ((event.mask & IN_OPEN) != 0 && (event.mask & IN_ISDIR) != 0) ++count;
        at += sizeof event + event.len;
      }
    }
    return count;
  }

 private:
  const FileDescriptor file_;
};

// Retention deletes whole segments, and one part of the index may have thousands of their records.
TEST_F(IndexTest, ASearchPassesDeletedRecordsByWithoutALookAtEach) {
  Ledger some;
  test::RandomRecords random(4);
  constexpr std::uint64_t kDeleted = 300, kLeft = 20;
  for (const std::uint64_t count : {kDeleted / 2, kDeleted / 2, kLeft}) {
    if (some.writer.size() != 0) some.writer.Rotate();
    for (std::uint64_t i = 0; i < count; ++i) some.writer.Append(random.Next());
  }
  some.Reopen();
  some.writer.Prune(0);
  some.writer.Prune(1);
  const Listings listings(some.folder.path() / "segments");
  for (const bool oldest_first : {true, false}) {
    const auto result = some.index->Search({}, {oldest_first, 1000, std::nullopt});
    ASSERT_TRUE(result) << result.error().message;
    ASSERT_EQ(result->hits.size(), kLeft);
    EXPECT_EQ((oldest_first ? result->hits.front() : result->hits.back()).sequence, kDeleted);
    const int count = listings.Count();
    EXPECT_GE(count, 1);
    EXPECT_LE(count, 3);
  }
}

TEST_F(IndexTest, PartsAreDroppedOneByOneAsLongAsItIsToGoOn) {
  const test::TemporaryFolder folder;
  const auto index = *Index::Open(folder.path());
  for (int parts = 0; parts < 4; ++parts) {
    while (!index->full()) index->Add({}, 100);
    ASSERT_TRUE(index->WritePart());
  }
  const auto left = [&] {
    int parts = 0;
    for (int i = 0; i < 4; ++i) parts += index->PlaceNear(std::uint64_t{Index::kPartRecords} * i)->has_value() ? 1 : 0;
    return parts;
  };
  EXPECT_EQ(left(), 4);
  int asked = 0;
  ASSERT_TRUE(index->DropBefore(index->size(), [&] { return ++asked < 2; }));
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(left(), 2);
  ASSERT_TRUE(index->DropBefore(index->size(), [] { return true; }));
  EXPECT_EQ(left(), 1) << "the last one stays";
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
