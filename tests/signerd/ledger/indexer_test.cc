#include "signerd/ledger/indexer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "random_records.h"
#include "sample.h"
#include "segment_writer.h"

namespace hallmark::ledger {
namespace {

class IndexerTest : public testing::Test {
 protected:
  void Append(std::size_t count) {
    std::vector<v1::Record> batch(count);
    for (auto& record : batch) record = random_.Next();
    writer_.Append(batch);
    durable_ = writer_.size();
  }
  void Start() {
    indexer_ = Indexer::Start(folder_.path(), [this] { return durable_.load(); });
  }
  void ExpectAllThere(std::uint64_t first = 0) {
    ASSERT_TRUE(indexer_->WaitFor(durable_, std::chrono::seconds(60))) << indexer_->state().problem;
    const auto tree = indexer_->tree();
    ASSERT_TRUE(tree);
    const Hash root = naive::Root(writer_.leaves());
    EXPECT_EQ(*(*tree)->Root(durable_), root);
    for (std::uint64_t i = first; i < durable_; i += 1 + durable_ / 50) {
      const auto proof = (*tree)->InclusionProof(i, durable_);
      ASSERT_TRUE(proof) << i << ": " << proof.error().message;
      EXPECT_TRUE(VerifyInclusion(writer_.leaves()[i], i, durable_, *proof, root));
      const auto record = indexer_->Record(i);
      ASSERT_TRUE(record) << record.error().message;
      EXPECT_EQ(*record, writer_.records()[i].SerializeAsString());
    }
    std::vector<std::uint64_t> expected, found;
    for (std::uint64_t i = first; i < durable_; ++i) {
      if (Fits(query_, writer_.records()[i])) expected.push_back(i);
    }
    const auto result = indexer_->Search(query_, {true, 1'000'000, std::nullopt});
    ASSERT_TRUE(result) << result.error().message;
    for (const Hit& hit : result->hits) found.push_back(hit.sequence);
    EXPECT_EQ(found, expected);
  }
  // As long as a slow machine needs.
  static void Await(const std::function<bool()>& condition) {
    for (int i = 0; i < 3000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_TRUE(condition());
  }
  static Query SampleQuery() {
    Query query;
    query.partner = "partner2";
    query.from = "author7@example.com";
    return query;
  }
  // As a daemon before this one wrote it.
  static void MakeOldIndex(const std::filesystem::path& file) {
    std::filesystem::remove(file);
    auto database = store::Database::Open(file);
    ASSERT_TRUE(database) << database.error().message;
    EXPECT_TRUE(database->Execute(
        "CREATE TABLE part (id INTEGER PRIMARY KEY, begin INTEGER NOT NULL, least_us INTEGER NOT NULL, most_us INTEGER "
        "NOT NULL, offsets BLOB NOT NULL) STRICT; INSERT INTO part VALUES (0, 0, 0, 0, x''); PRAGMA user_version = 2"));
  }
  const Query query_ = SampleQuery();
  test::TemporaryFolder folder_;
  test::SegmentWriter writer_{folder_.path()};
  test::RandomRecords random_{7};
  std::atomic<std::uint64_t> durable_{0};
  std::unique_ptr<Indexer> indexer_;
};

TEST_F(IndexerTest, FollowsAcrossSegmentsAndStarts) {
  Start();
  ExpectAllThere();
  for (const std::size_t count : {1u, 5u, 3000u, 40'000u, 2u}) {
    Append(count);
    ExpectAllThere();
    writer_.Rotate();
  }
  indexer_.reset();
  Append(700);
  Start();
  ExpectAllThere();
  EXPECT_EQ(indexer_->Record(durable_).error().reason, Reason::kNotFound);
}

TEST_F(IndexerTest, NeverReadsWhatIsNotDurable) {
  Append(100);
  durable_ = 60;
  Start();
  ASSERT_TRUE(indexer_->WaitFor(60, std::chrono::seconds(60)));
  EXPECT_FALSE(indexer_->WaitFor(61, std::chrono::milliseconds(200)));
  EXPECT_FALSE(indexer_->Record(60));
  durable_ = 100;
  ExpectAllThere();
}

TEST_F(IndexerTest, MakesAnewWhatIsMissingOrNotItsOwn) {
  Append(35'000);
  writer_.Rotate();
  Append(1000);
  Start();
  ExpectAllThere();
  const auto hashes = folder_.path() / "hashes";
  const std::function<void()> harms[] = {
      [&] { std::filesystem::remove_all(hashes); },
      [&] { std::filesystem::resize_file(hashes / "03", 32); },
      [&] { std::filesystem::remove(folder_.path() / "index.db"); },
      [&] { std::ofstream(folder_.path() / "index.db", std::ios::binary | std::ios::trunc) << std::string(9000, 'x'); },
      [&] { MakeOldIndex(folder_.path() / "index.db"); },
      [&] {  // hashes of another ledger
        std::fstream file(hashes / "15", std::ios::binary | std::ios::in | std::ios::out);
        file << std::string(32, 'y');
      }};
  for (const auto& harm : harms) {
    indexer_.reset();
    harm();
    Start();
    ExpectAllThere();
  }
}

TEST_F(IndexerTest, RebuildsWhileTheLedgerGoesOn) {
  Append(34'000);
  Start();
  ExpectAllThere();
  indexer_->Rebuild();
  EXPECT_TRUE(indexer_->state().rebuilding);
  Append(500);
  ExpectAllThere();
  EXPECT_EQ(indexer_->state().problem, "");
}

// Whoever waits for it must not be told of the old one, which the thread may follow the ledger with for a moment more.
TEST_F(IndexerTest, IsNotMadeAnewBeforeThatHasBegun) {
  constexpr std::uint64_t kBefore = 100, kAfter = 150;
  Append(kBefore);
  std::atomic<bool> asked = false, begun = false;
  Indexer::State at_beginning;
  indexer_ = Indexer::Start(folder_.path(), [&] {
    const std::uint64_t size = durable_;
    if (asked && !begun) {  // it looks again when it makes the new one
      at_beginning = indexer_->state();
      begun = true;
    }
    if (size == kAfter && !asked) {
      indexer_->Rebuild();
      asked = true;
    }
    return size;
  });
  ExpectAllThere();
  Append(kAfter - kBefore);
  std::uint64_t most_indexed = 0;
  while (!begun) {
    const bool told = asked;
    const std::uint64_t indexed = indexer_->state().indexed;
    if (told && !begun) most_indexed = std::max(most_indexed, indexed);
  }
  EXPECT_EQ(most_indexed, 0u);
  EXPECT_TRUE(at_beginning.rebuilding);
  EXPECT_EQ(at_beginning.indexed, 0u);
  ExpectAllThere();
  Await([&] { return !indexer_->state().rebuilding; });
  indexer_.reset();
}

TEST_F(IndexerTest, MakingItAnewIsNotSaidToFailForWhatWasWrongBefore) {
  Append(10);
  durable_ = 20;  // the ledger says that there are more
  std::atomic<bool> asked = false, begun = false;
  Indexer::State at_beginning;
  indexer_ = Indexer::Start(folder_.path(), [&] {
    if (asked && !begun && indexer_->state().rebuilding) {
      at_beginning = indexer_->state();
      begun = true;
    }
    return durable_.load();
  });
  Await([&] { return !indexer_->state().problem.empty(); });
  asked = true;
  indexer_->Rebuild();
  Await([&] { return begun.load(); });
  EXPECT_EQ(at_beginning.problem, "");
  Await([&] { return !indexer_->state().problem.empty(); });  // it is the segment
  indexer_.reset();
}

TEST_F(IndexerTest, GoesOnAfterSegmentsWereDeleted) {
  for (int i = 0; i < 4; ++i) {
    Append(1000 + 777 * static_cast<std::size_t>(i));
    writer_.Rotate();
  }
  Append(50);
  Start();
  ExpectAllThere();
  indexer_.reset();
  writer_.Prune(0);
  writer_.Prune(1);
  const std::uint64_t left = 1000 + 1777;
  Start();
  ExpectAllThere(left);
  EXPECT_EQ(indexer_->Record(5).error().reason, Reason::kNotFound);
  indexer_->Rebuild();
  ExpectAllThere(left);
}

TEST_F(IndexerTest, SaysWhatIsWrongAndGoesOnWhenItIsRight) {
  Append(10);
  durable_ = 20;  // the ledger says that there are more
  Start();
  for (int i = 0; i < 100 && indexer_->state().problem.empty(); ++i)
    indexer_->WaitFor(20, std::chrono::milliseconds(50));
  EXPECT_EQ(indexer_->state().problem, "record 10 is missing from the ledger");
  Append(10);
  ExpectAllThere();
}

}  // namespace
}  // namespace hallmark::ledger
