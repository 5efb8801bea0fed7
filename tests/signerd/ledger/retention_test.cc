#include "signerd/ledger/retention.h"

#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>

#include "firmware/runtime/file.h"
#include "ledger/ledger_fixture.h"
#include "signerd/ledger/verify.h"
#include "signerd/store/sqlite.h"

namespace hallmark::ledger {
namespace {

using std::chrono::days;

constexpr std::chrono::sys_seconds kBegin{std::chrono::seconds(1'700'000'000)};

// Sixty records of one day, and sixty of ten days later, which is now.
class RetentionTest : public test::LedgerFixture {
 protected:
  RetentionTest() {
    config_.segment_octets = 300;
    Start();
    Append60();
    clock_.Set(kBegin + days(10));
    Append60();
    EXPECT_TRUE(WaitForCheckpoint(*ledger_, 120));
    EXPECT_TRUE(indexer_->WaitFor(120, std::chrono::seconds(60)));
  }

  void Start() {
    ledger_ = *Ledger::Open(config_, clock_);
    ledger_->Start(signer_);
    indexer_ = Indexer::Start(config_.directory, [this] { return ledger_->durable().size; });
    EXPECT_TRUE(indexer_->WaitFor(ledger_->durable().size, std::chrono::seconds(60)));
  }
  // As signerd starts: with the time of the ledger's last record.
  void StartRetention(std::int64_t default_days) {
    v1::Record last;
    ASSERT_TRUE(last.ParseFromString(*indexer_->Record(ledger_->durable().size - 1)));
    StartRetention(default_days, std::chrono::sys_seconds(std::chrono::seconds(last.time_us() / 1'000'000)));
  }
  void StartRetention(std::int64_t default_days, std::chrono::sys_seconds time) {
    retention_ = *Retention::Start({*ledger_, *indexer_, clock_, default_days, time, [this] {
                                      return unknown_-- > 0
                                                 ? Status(MakeError(Reason::kLedgerUnavailable, "not known yet"))
                                                 : clock_is_set_;
                                    }});
  }
  void Stop() {
    retention_.reset();
    indexer_.reset();
    ledger_.reset();
  }
  std::string Record() const {
    v1::Record record;
    record.mutable_signature()->set_partner("own");
    record.set_time_us(ledger_->now_us());
    return record.SerializeAsString();
  }
  void Append60() {
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(Append(*ledger_, {Record()}));
  }
  // Until another segment is begun, which has the last record.
  void AppendToNextSegment() {
    const std::size_t before = ListSegments(config_.directory)->size();
    while (ListSegments(config_.directory)->size() == before) ASSERT_TRUE(Append(*ledger_, {Record()}));
  }
  bool WaitForAll() {
    const std::uint64_t size = ledger_->durable().size;
    return WaitForCheckpoint(*ledger_, size) && indexer_->WaitFor(size, std::chrono::seconds(60));
  }
  bool WaitForProblem(const std::string& words) {
    return WaitFor([&] { return retention_->state().problem.find(words) != std::string::npos; });
  }

  ManualClock clock_{kBegin};
  Status clock_is_set_ = Ok();
  std::atomic<int> unknown_{0};  // so often it is not known whether it is
  test::SoftSigner signer_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Indexer> indexer_;
  std::unique_ptr<Retention> retention_;
};

TEST_F(RetentionTest, DeletesWhatIsOldWhileTheLedgerGoesOn) {
  StartRetention(0);
  EXPECT_EQ(retention_->state().days, 0);
  ASSERT_TRUE(WaitFor([&] { return std::filesystem::exists(config_.directory / "retention-time"); }));
  EXPECT_TRUE(std::filesystem::exists(OnlySegment())) << "kept for ever";

  EXPECT_FALSE(retention_->Set(-1));
  ASSERT_TRUE(retention_->Set(5));
  ASSERT_TRUE(WaitFor([&] { return retention_->state().first != 0; }));
  const std::uint64_t first = retention_->state().first;
  EXPECT_GT(first, 40u);
  EXPECT_LE(first, 60u);
  EXPECT_EQ(indexer_->Record(first - 1).error().reason, Reason::kNotFound);
  EXPECT_TRUE(indexer_->Record(first));
  EXPECT_EQ(indexer_->Search({}, {true, 1000, std::nullopt})->hits.front().sequence, first);
  const auto check = [&] {
    const auto verified = Verify({config_.directory, [&] { return VerifierKeys{*ledger_->verifier_key()}; }, "", 0, 0,
                                  [&] { return ledger_->durable(); }, [](auto, auto) { return true; }});
    ASSERT_TRUE(verified) << verified.error().message;
    EXPECT_EQ(verified->deleted, first);
    const auto tree = indexer_->tree();
    const auto proof = (*tree)->InclusionProof(first, 120);
    ASSERT_TRUE(proof) << proof.error().message;
    EXPECT_TRUE(
        VerifyInclusion(LeafHash(AsBytes(*indexer_->Record(first))), first, 120, *proof, ledger_->durable().root));
  };
  check();

  // After a start, and with what is derived made anew from what is left.
  Stop();
  std::filesystem::remove_all(config_.directory / "hashes");
  Start();
  StartRetention(0);
  EXPECT_EQ(retention_->state().days, 5);
  EXPECT_TRUE(retention_->state().stored);
  ASSERT_TRUE(WaitFor([&] { return ledger_->verifier_key().has_value(); }));
  check();
  ASSERT_TRUE(retention_->Set(std::nullopt));
  EXPECT_EQ(retention_->state().days, 0);
}

// A dead battery, or a time server that lies: what is deleted by such a clock cannot be brought back.
TEST_F(RetentionTest, AClockThatIsFarAheadDeletesNothing) {
  clock_.Set(kBegin + days(740));
  StartRetention(400);
  ASSERT_TRUE(WaitForProblem("the clock says 2025-11-23"));
  EXPECT_NE(retention_->state().clock_doubt, "");
  EXPECT_TRUE(std::filesystem::exists(OnlySegment()));
  // What is written meanwhile is of the wrong time; the next start does not believe it for that.
  Append60();
  Stop();
  Start();
  StartRetention(400);
  ASSERT_TRUE(WaitForProblem("the clock says 2025-11-23"));
  EXPECT_TRUE(std::filesystem::exists(OnlySegment()));
  // When it is right again there is nothing to say.
  Stop();
  clock_.Set(kBegin + days(11));
  Start();
  StartRetention(400);
  ASSERT_TRUE(WaitFor([&] { return *ReadFile(config_.directory / "retention-time") == "1700950400\n"; }));
  EXPECT_EQ(retention_->state().problem, "");
  EXPECT_EQ(retention_->state().clock_doubt, "");
  EXPECT_TRUE(std::filesystem::exists(OnlySegment()));
}

// For others: what an early revocation harms is gone before what a month's retention would delete.
TEST_F(RetentionTest, AClockThatIsDaysAheadIsNotRightForOthers) {
  StartRetention(0);
  const auto before = kBegin + days(9);
  EXPECT_TRUE(retention_->CountsSince(before));
  clock_.Set(kBegin + days(10) + std::chrono::hours(23));
  EXPECT_TRUE(retention_->CountsSince(before)) << "a box may be off for a night";
  clock_.Set(kBegin + days(13));
  const Status doubted = retention_->CountsSince(before);
  ASSERT_FALSE(doubted);
  // What begins now is counted by the same clock.
  EXPECT_TRUE(retention_->CountsSince(kBegin + days(13)));
  clock_.Set(kBegin + days(13) + std::chrono::hours(1));
  EXPECT_TRUE(retention_->CountsSince(kBegin + days(13)));
  EXPECT_FALSE(retention_->CountsSince(kBegin + days(13) - std::chrono::seconds(1)));
  clock_.Set(kBegin + days(13));
  EXPECT_NE(doubted.error().message.find("the clock says 2023-11-27"), std::string::npos) << doubted.error().message;
  // Two starts with such a clock make it no righter.
  for (int i = 0; i < 2; ++i) {
    Stop();
    Start();
    StartRetention(400);
    ASSERT_TRUE(WaitFor([&] { return retention_->state().clock_doubt != ""; }));
    EXPECT_EQ(retention_->state().problem, "") << "of 400 days retention may miss three";
  }
  EXPECT_FALSE(retention_->CountsSince(before));
  // Somebody says that it is right, and once is enough.
  ASSERT_TRUE(retention_->Set(0));
  EXPECT_TRUE(retention_->CountsSince(before));
  ASSERT_TRUE(WaitFor([&] { return *ReadFile(config_.directory / "retention-time") == "1701123200\n"; }));
  Stop();
  Start();
  StartRetention(400);
  EXPECT_TRUE(retention_->CountsSince(before));
}

TEST_F(RetentionTest, ABoxThatWasOffForLongIsToldThatItsClockIsRight) {
  clock_.Set(kBegin + days(740));
  StartRetention(400);
  ASSERT_TRUE(WaitForProblem("retention --keep-days 400"));
  ASSERT_TRUE(retention_->Set(400));
  ASSERT_TRUE(WaitFor([&] { return retention_->state().first > 60; }));
  EXPECT_TRUE(WaitFor([&] { return retention_->state().problem.empty(); }));
  // Once is enough.
  Stop();
  clock_.Set(kBegin + days(741));
  Start();
  StartRetention(400);
  EXPECT_TRUE(WaitFor([&] { return retention_->state().first > 60; }));
  EXPECT_EQ(retention_->state().problem, "");
}

TEST_F(RetentionTest, WhoOnlySetsTheDaysDoesNotSayThatTheClockIsRight) {
  StartRetention(0);
  ASSERT_TRUE(WaitFor([&] { return std::filesystem::exists(config_.directory / "retention-time"); }));
  clock_.Set(kBegin + days(740));
  ASSERT_TRUE(retention_->Set(400));
  ASSERT_TRUE(WaitForProblem("the clock says"));
  EXPECT_TRUE(std::filesystem::exists(OnlySegment()));
}

// A segment that is begun then makes the one before it look old.
TEST_F(RetentionTest, AClockThatWasBehindDeletesNoYoungRecord) {
  const auto now = kBegin + days(30);
  clock_.Set(now - days(365));
  AppendToNextSegment();
  const std::uint64_t kept = ListSegments(config_.directory)->back().first;
  clock_.Set(now);
  ASSERT_TRUE(Append(*ledger_, {Record()}));
  ASSERT_EQ(ListSegments(config_.directory)->back().first, kept);
  clock_.Set(now - days(365));
  AppendToNextSegment();
  clock_.Set(now);
  ASSERT_TRUE(WaitForAll());
  StartRetention(5, now);
  ASSERT_TRUE(WaitFor([&] { return retention_->state().first != 0; }));
  EXPECT_EQ(retention_->state().first, kept);
  EXPECT_TRUE(indexer_->Record(kept + 1)) << "it is of today";
}

// Another connection writes to the index for longer than SQLite waits.
TEST_F(RetentionTest, WhatTheIndexCouldNotDropGoesAtTheNextLook) {
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(Append(*ledger_, std::vector(2 * Index::kPartRecords / 8, Record())));
  clock_.Set(kBegin + days(20));
  ASSERT_TRUE(Append(*ledger_, {Record()}));
  ASSERT_TRUE(WaitForAll());
  auto database = *store::Database::Open(config_.directory / "index.db", store::Durability::kDerived);
  const auto parts = [&] {
    auto count = *database.Prepare("SELECT count(*) FROM part");
    EXPECT_TRUE(*count.Step());
    return count.Integer(0);
  };
  ASSERT_EQ(parts(), 2);
  {
    const auto writing = *store::Transaction::Begin(database);
    StartRetention(5, kBegin + days(20));
    ASSERT_TRUE(WaitForProblem("the index still has them"));
    EXPECT_GT(retention_->state().first, Index::kPartRecords) << "the first part is of deleted records";
    EXPECT_EQ(parts(), 2);
  }
  ASSERT_TRUE(retention_->Set(5));
  EXPECT_TRUE(WaitFor([&] { return parts() == 1; }));
  EXPECT_TRUE(WaitFor([&] { return retention_->state().problem.empty(); }));
}

// The file has its new name, and the folder cannot be synced: as on a disk that fails in between.
TEST_F(RetentionTest, WhatCouldNotBeStoredDoesNotHoldFromTheNextStartOn) {
  StartRetention(0);
  ASSERT_TRUE(WaitFor([&] { return std::filesystem::exists(config_.directory / "retention-time"); }));
  // Who may not read a folder cannot sync it either, but may put a file into it.
  constexpr uid_t kNobody = 65534;
  const std::filesystem::path folder = config_.directory;
  const bool root = ::geteuid() == 0;
  ASSERT_EQ(::chmod(folder.c_str(), 0300), 0);
  if (root) {
    ASSERT_EQ(::chmod(folder.parent_path().c_str(), 0711), 0);
    ASSERT_EQ(::chown(folder.c_str(), kNobody, static_cast<gid_t>(-1)), 0);
    ::setfsuid(kNobody);  // of this thread
  }
  const bool ready = !root || ::setfsuid(kNobody) == static_cast<int>(kNobody);
  const Status set = retention_->Set(5);
  if (root) ::setfsuid(0);
  ASSERT_EQ(::chmod(folder.c_str(), 0700), 0);
  if (!ready) GTEST_SKIP() << "root cannot be another user here";
  ASSERT_FALSE(set);
  EXPECT_EQ(retention_->state().days, 0);
  Stop();
  Start();
  StartRetention(0);
  EXPECT_EQ(retention_->state().days, 0);
  EXPECT_FALSE(retention_->state().stored);
}

TEST_F(RetentionTest, AClockThatIsNotSetDeletesNothing) {
  clock_is_set_ = MakeError(Reason::kStateConflict, "the clock is not set");
  StartRetention(5);
  ASSERT_TRUE(WaitForProblem("not set"));
  EXPECT_EQ(retention_->CountsSince(kBegin).error().message, "the clock is not set");
  EXPECT_EQ(retention_->state().clock_doubt, "") << "nobody can say that it is right";
  EXPECT_TRUE(std::filesystem::exists(OnlySegment()));
}

TEST_F(RetentionTest, AClockOfWhichNothingIsKnownYetIsLookedAtAgainSoonWhereNothingIsDeletedToo) {
  unknown_ = 1;
  clock_.Set(kBegin + days(13));
  StartRetention(0);
  EXPECT_TRUE(WaitFor([&] { return retention_->state().clock_doubt != ""; }));
}

TEST_F(RetentionTest, NothingIsDeletedWhileSomebodyReadsTheSegments) {
  auto reading = ledger_->KeepSegments();
  const auto may_delete = [&] {
    return std::async(std::launch::async, [&] { return ledger_->TryDeleteSegments().owns_lock(); }).get();
  };
  EXPECT_FALSE(may_delete());
  StartRetention(5);
  ASSERT_TRUE(WaitFor([&] { return std::filesystem::exists(config_.directory / "retention-time"); }));
  EXPECT_TRUE(std::filesystem::exists(OnlySegment()));
  reading.unlock();
  ASSERT_TRUE(WaitFor([&] { return retention_->state().first != 0; }));
  EXPECT_FALSE(std::filesystem::exists(OnlySegment()));
}

}  // namespace
}  // namespace hallmark::ledger
