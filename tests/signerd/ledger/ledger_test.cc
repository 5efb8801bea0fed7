#include "signerd/ledger/ledger.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <fstream>
#include <future>
#include <random>
#include <thread>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "ledger/unsafe_disk.h"
#include "sample.h"
#include "signerd/ledger/indexer.h"
#include "signerd/ledger/recipients.h"
#include "signerd/ledger/retention.h"
#include "signerd/ledger/segment.h"
#include "signerd/ledger/verify.h"

namespace hallmark::ledger {
namespace {

using std::chrono::milliseconds;

// A key in memory, in place of one in a token.
class SoftSigner final : public CheckpointSigner {
 public:
  SoftSigner() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free) {}
  Result<std::array<std::uint8_t, 32>> PublicKey() override {
    if (down) return MakeError(Reason::kTokenDown, "the token is away");
    std::array<std::uint8_t, 32> raw{};
    std::size_t size = raw.size();
    EVP_PKEY_get_raw_public_key(key_.get(), raw.data(), &size);
    return raw;
  }
  Result<Bytes> Sign(const std::string& text) override {
    Bytes signature(64);
    std::size_t size = signature.size();
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get());
    EVP_DigestSign(context.get(), signature.data(), &size, AsBytes(text).data(), text.size());
    if (wrong) signature[7] ^= 1;
    return signature;
  }
  std::atomic<bool> down{false}, wrong{false};

 private:
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    config_.directory = folder_.path() / "ledger";
    config_.origin = "hallmark/test";
    config_.open = disk_.opener();
    config_.checkpoint_interval = std::chrono::seconds(1);
  }

  std::unique_ptr<Ledger> Open() {
    auto ledger = Ledger::Open(config_, clock_);
    EXPECT_TRUE(ledger) << ledger.error().message;
    return ledger ? std::move(*ledger) : nullptr;
  }
  static Result<std::uint64_t> Append(Ledger& ledger, std::vector<std::string> records) {
    std::promise<Result<std::uint64_t>> promise;
    auto answer = promise.get_future();
    ledger.Append(std::move(records), [&](Result<std::uint64_t> sequence) { promise.set_value(std::move(sequence)); });
    return answer.get();
  }
  // All records as they stand in the segments, which must be whole.
  std::vector<std::string> Records() const {
    std::vector<std::string> records;
    const auto segments = ListSegments(config_.directory);
    EXPECT_TRUE(segments);
    for (const SegmentFile& file : *segments) {
      auto reader = SegmentReader::Open(file.path);
      EXPECT_TRUE(reader) << reader.error().message;
      EXPECT_EQ(reader->header().first, records.size());
      while (true) {
        const auto record = reader->Next();
        EXPECT_TRUE(record) << record.error().message;
        if (!record || !*record) break;
        records.emplace_back(**record);
      }
    }
    return records;
  }
  static Hash RootOf(const std::vector<std::string>& records) {
    CompactTree tree;
    for (const std::string& record : records) tree.Append(LeafHash(AsBytes(record)));
    return tree.Root();
  }
  std::filesystem::path OnlySegment() const { return SegmentPath(config_.directory, 0); }
  // Waits until the newest checkpoint is of `size` records.
  static bool WaitForCheckpoint(const Ledger& ledger, std::uint64_t size) {
    for (int i = 0; i < 500; ++i) {
      const auto note = ledger.latest_checkpoint();
      if (note && ParseCheckpoint(*note)->size == size) return true;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
  }

  hallmark::test::TemporaryFolder folder_;
  test::UnsafeDisk disk_;
  const SystemClock clock_;
  LedgerConfig config_;
};

TEST_F(LedgerTest, WhatWasAppendedIsThereAfterAStart) {
  {
    const auto ledger = Open();
    EXPECT_EQ(*Append(*ledger, {"a", "b"}), 0u);
    EXPECT_EQ(*Append(*ledger, {"c"}), 2u);
    EXPECT_EQ(ledger->durable(), (TreeHead{3, RootOf({"a", "b", "c"})}));
  }
  const auto ledger = Open();
  EXPECT_EQ(ledger->durable(), (TreeHead{3, RootOf({"a", "b", "c"})}));
  EXPECT_EQ(*Append(*ledger, {"d"}), 3u);
  EXPECT_EQ(Records(), (std::vector<std::string>{"a", "b", "c", "d"}));
}

TEST_F(LedgerTest, ManyThreadsGetNumbersWithoutAGap) {
  const auto ledger = Open();
  std::vector<std::thread> callers;
  std::mutex mutex;
  std::vector<std::uint64_t> numbers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto first = Append(*ledger, {std::to_string(t) + "/" + std::to_string(i), "second"});
        ASSERT_TRUE(first);
        const std::lock_guard lock(mutex);
        numbers.push_back(*first);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::sort(numbers.begin(), numbers.end());
  for (std::size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(numbers[i], 2 * i);
  EXPECT_EQ(ledger->durable().root, RootOf(Records()));
}

TEST_F(LedgerTest, ALongLedgerHasManySegments) {
  config_.segment_octets = 300;
  std::vector<std::string> expected;
  for (int start = 0; start < 3; ++start) {
    const auto ledger = Open();
    for (int i = 0; i < 40; ++i) {
      expected.push_back("record number " + std::to_string(expected.size()));
      EXPECT_EQ(*Append(*ledger, {expected.back()}), expected.size() - 1);
    }
    EXPECT_EQ(ledger->durable(), (TreeHead{expected.size(), RootOf(expected)}));
  }
  EXPECT_EQ(Records(), expected);
  EXPECT_GT(ListSegments(config_.directory)->size(), 5u);
}

TEST_F(LedgerTest, ATornTailIsCutOffWhereverItIsTorn) {
  Open()->AppendAndWait({}).value();
  const std::uint64_t whole = std::filesystem::file_size(OnlySegment());
  const std::vector<std::string> before = Records();
  std::string torn(40, 'x');
  Append(*Open(), {torn}).value();
  const std::uint64_t end = std::filesystem::file_size(OnlySegment());
  std::string content(end, '\0');
  std::ifstream(OnlySegment(), std::ios::binary).read(content.data(), static_cast<std::streamsize>(end));
  for (std::uint64_t cut = whole; cut < end; ++cut) {
    std::ofstream(OnlySegment(), std::ios::binary | std::ios::trunc)
        .write(content.data(), static_cast<std::streamsize>(cut));
    const auto ledger = Open();
    ASSERT_NE(ledger, nullptr) << cut;
    ASSERT_EQ(ledger->durable().size, 1u) << cut;
    ASSERT_EQ(std::filesystem::file_size(OnlySegment()), whole) << cut;
    ASSERT_EQ(*Append(*ledger, {"next"}), 1u) << cut;
    std::filesystem::resize_file(OnlySegment(), whole);
  }
  EXPECT_EQ(Records(), before);
}

TEST_F(LedgerTest, ASegmentThatWasOnlyBegunIsPutAside) {
  {
    const auto ledger = Open();
    Append(*ledger, {"a", "b", "c"}).value();
  }
  std::ofstream(SegmentPath(config_.directory, 3), std::ios::binary) << "HMLE";
  const auto ledger = Open();
  EXPECT_EQ(*Append(*ledger, {"d"}), 3u);
  EXPECT_EQ(Records().size(), 4u);
}

TEST_F(LedgerTest, AFullDiskRefusesLeavesNothingAndMendsItself) {
  const auto ledger = Open();
  Append(*ledger, {"a"}).value();
  const std::uint64_t whole = std::filesystem::file_size(OnlySegment());
  disk_.full = true;
  for (int i = 0; i < 3; ++i) {
    const auto refused = Append(*ledger, {"lost"});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::kLedgerUnavailable);
    EXPECT_EQ(std::filesystem::file_size(OnlySegment()), whole);
  }
  EXPECT_FALSE(ledger->available());
  disk_.full = false;
  // Without anybody asking: a signer that says it cannot sign is not asked.
  for (int i = 0; i < 300 && !ledger->available(); ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_TRUE(ledger->available());
  EXPECT_EQ(*Append(*ledger, {"b"}), 1u);
  EXPECT_EQ(Records(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(LedgerTest, AfterAFailedSyncItGoesOnInANewSegment) {
  const auto ledger = Open();
  Append(*ledger, {"a"}).value();
  disk_.syncs_to_fail = 1;
  EXPECT_EQ(Append(*ledger, {"lost"}).error().reason, Reason::kLedgerUnavailable);
  EXPECT_EQ(*Append(*ledger, {"b"}), 1u);
  EXPECT_EQ(Records(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(ListSegments(config_.directory)->size(), 2u);
}

TEST_F(LedgerTest, NothingIsWrittenBehindWhatCouldNotBeCutOff) {
  const auto ledger = Open();
  Append(*ledger, {"a"}).value();
  disk_.writes_to_fail = 1;
  disk_.truncates_to_fail = 3;
  EXPECT_FALSE(Append(*ledger, {"lost"}));
  EXPECT_FALSE(Append(*ledger, {"refused, since the disk still holds half a record"}));
  for (int i = 0; i < 300 && !ledger->available(); ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(*Append(*ledger, {"b"}), 1u);
  EXPECT_EQ(Records(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(LedgerTest, APowerCutTakesNothingThatWasAnswered) {
  std::mt19937 random(7);
  std::vector<std::string> answered;
  config_.segment_octets = 2000;
  for (int round = 0; round < 60; ++round) {
    {
      const auto ledger = Open();
      ASSERT_NE(ledger, nullptr);
      ASSERT_EQ(ledger->durable().size, answered.size());
      for (int i = 0; i < 5; ++i) {
        answered.push_back(std::string(1 + random() % 300, static_cast<char>('a' + i)));
        ASSERT_TRUE(Append(*ledger, {answered.back()}));
      }
      // Written, in part or as a whole, but never synced, and so never answered.
      (random() % 2 == 0 ? disk_.syncs_to_fail : disk_.writes_to_fail) = 1;
      disk_.truncates_to_fail = 1000;
      ASSERT_FALSE(Append(*ledger, {"never answered"}));
    }
    disk_.truncates_to_fail = disk_.writes_to_fail = disk_.syncs_to_fail = 0;
    disk_.CutPower(random() % 20);
    ASSERT_EQ(Open()->durable().root, RootOf(answered)) << "round " << round;
  }
  EXPECT_EQ(Records(), answered);
}

TEST_F(LedgerTest, TheHeadIsSignedWhenItHasGrownAndAtTheEnd) {
  SoftSigner signer;
  {
    const auto ledger = Open();
    ledger->Start(signer);
    Append(*ledger, {"a", "b"}).value();
    ASSERT_TRUE(WaitForCheckpoint(*ledger, 2));
    EXPECT_EQ(*OpenCheckpoint(*ledger->latest_checkpoint(), *ledger->verifier_key()), ledger->durable());
    Append(*ledger, {"c"}).value();
    ledger->Stop();
    EXPECT_EQ(ParseCheckpoint(*ledger->latest_checkpoint())->size, 3u);
  }
  const auto notes = ReadCheckpoints(config_.directory / "checkpoints");
  ASSERT_TRUE(notes);
  ASSERT_EQ(notes->size(), 2u);
  EXPECT_EQ(ParseCheckpoint(notes->back())->root, RootOf({"a", "b", "c"}));
}

TEST_F(LedgerTest, WithoutATokenItGoesOnAndSignsLater) {
  SoftSigner signer;
  signer.down = true;
  const auto ledger = Open();
  ledger->Start(signer);
  Append(*ledger, {"a"}).value();
  EXPECT_EQ(ledger->latest_checkpoint(), std::nullopt);
  signer.wrong = true;
  signer.down = false;
  std::this_thread::sleep_for(milliseconds(1500));
  EXPECT_EQ(ledger->latest_checkpoint(), std::nullopt) << "a signature that does not verify was kept";
  signer.wrong = false;
  EXPECT_TRUE(WaitForCheckpoint(*ledger, 1));
}

TEST_F(LedgerTest, DamageBelowACheckpointIsNotTakenForATornTail) {
  SoftSigner signer;
  {
    const auto ledger = Open();
    ledger->Start(signer);
    Append(*ledger, {"first", "second", "third"}).value();
  }
  std::fstream file(OnlySegment(), std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(-3, std::ios::end);
  file.put('X');
  file.close();
  const std::uint64_t octets = std::filesystem::file_size(OnlySegment());
  const auto refused = Ledger::Open(config_, clock_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(OnlySegment()), octets) << "evidence was destroyed";
}

TEST_F(LedgerTest, ALedgerThatWasPutBackIsRefused) {
  SoftSigner signer;
  Append(*Open(), {"a"}).value();
  std::filesystem::copy(config_.directory / "segments", folder_.path() / "old");
  {
    const auto ledger = Open();
    ledger->Start(signer);
    Append(*ledger, {"b"}).value();
  }
  std::filesystem::remove_all(config_.directory / "segments");
  std::filesystem::copy(folder_.path() / "old", config_.directory / "segments");
  EXPECT_FALSE(Ledger::Open(config_, clock_));
}

// The example of the signed-note format's first implementation.
TEST(Checkpoint, KnowsTheFormOfSignedNotes) {
  const auto key = VerifierKey::Parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->name, "PeterNeumann");
  EXPECT_EQ(key->Text(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
}

TEST(Checkpoint, SaysWhatIsWrong) {
  const VerifierKey key{"log", {}};
  const std::string root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  for (const std::string& note : std::vector<std::string>{
           "", std::string("log\n1\n") + root + "\n", "other\n1\n" + root + "\n\n\u2014 log AAAA\n",
           "log\n01\n" + root + "\n\n\u2014 log AAAA\n", "log\n1\nAAAA\n\n\u2014 log AAAA\n",
           "log\n1\n" + root + "\n\n\u2014 log AAAA\n"}) {
    const auto opened = OpenCheckpoint(note, key);
    ASSERT_FALSE(opened) << note;
    EXPECT_EQ(opened.error().reason, Reason::kInvalidArgument);
  }
}

TEST(Checkpoint, AFileGivesItsWholeNotes) {
  const VerifierKey key{"log", {}};
  const std::string note = SignedNote(CheckpointBody("log", {7, EmptyRoot()}), key, Bytes(64));
  EXPECT_EQ(SplitCheckpoints(note + "\n" + note + "\n" + note.substr(0, 20)), (std::vector<std::string>{note, note}));
  EXPECT_EQ(ParseCheckpoint(note)->size, 7u);
}

TEST(LedgerRecipients, AreFoundByWhoKnowsThemOnly) {
  const hallmark::test::TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  const auto made = Recipients::Open(Recipients::Mode::kHashed, folder);
  ASSERT_TRUE(made) << made.error().message;
  const auto again = Recipients::Open(Recipients::Mode::kHashed, folder);
  ASSERT_TRUE(again);
  const auto hash = [](const Result<Recipients>& recipients, const std::string& address) {
    return recipients->Hash({&address, 1}).front();
  };
  EXPECT_EQ(hash(made, "Joe@Example.com"), hash(again, "Joe@example.COM"));
  EXPECT_NE(hash(made, "joe@example.com"), hash(made, "Joe@example.com"));
  EXPECT_EQ(std::filesystem::status(folder / "recipient.key").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const auto other = Recipients::Open(Recipients::Mode::kHashed, folder / "other");
  EXPECT_NE(hash(other, "Joe@example.com"), hash(made, "Joe@example.com"));
}

TEST(LedgerRecipients, AreHashedWithHmacSha256) {
  const hallmark::test::TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.path() / "recipient.key", "key\n", 0600));
  const auto recipients = Recipients::Open(Recipients::Mode::kHashed, folder.path());
  ASSERT_TRUE(recipients) << recipients.error().message;
  const std::vector<std::string> texts = {"The quick brown fox jumps over the lazy dog", "",
                                          "The quick brown fox jumps over the lazy dog"};
  const auto hashes = recipients->Hash(texts);
  ASSERT_EQ(hashes.size(), 3u);
  EXPECT_EQ(HexEncode(hashes[0]), "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
  EXPECT_EQ(HexEncode(hashes[1]), "5d5d139563c95b5967b9bd9a8c9b233a9dedb45072794cd232dc1b74832607d0");
  EXPECT_EQ(hashes[2], hashes[0]);
  EXPECT_TRUE(recipients->Hash({}).empty());
}

TEST_F(LedgerTest, RetentionDeletesWhatIsOldWhileTheLedgerGoesOn) {
  using std::chrono::days;
  config_.segment_octets = 300;
  ManualClock clock(std::chrono::sys_seconds(std::chrono::seconds(1'700'000'000)));
  SoftSigner signer;
  auto ledger = *Ledger::Open(config_, clock);
  ledger->Start(signer);
  v1::Record record;
  record.mutable_signature()->set_partner("own");
  const auto append = [&](int count) {
    for (int i = 0; i < count; ++i) {
      record.set_time_us(ledger->now_us());
      ASSERT_TRUE(Append(*ledger, {record.SerializeAsString()}));
    }
  };
  append(60);
  clock.Set(clock.Now() + days(10));
  append(60);
  ASSERT_TRUE(WaitForCheckpoint(*ledger, 120));
  const auto size = [&] { return ledger->durable().size; };
  auto indexer = Indexer::Start(config_.directory, size);
  ASSERT_TRUE(indexer->WaitFor(120, std::chrono::seconds(30)));
  auto retention = *Retention::Start(*ledger, *indexer, clock, 0);
  EXPECT_EQ(retention->state().days, 0);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_TRUE(std::filesystem::exists(OnlySegment())) << "kept for ever";

  EXPECT_FALSE(retention->Set(-1));
  ASSERT_TRUE(retention->Set(5));
  for (int i = 0; i < 500 && retention->state().first == 0; ++i) std::this_thread::sleep_for(milliseconds(10));
  const std::uint64_t first = retention->state().first;
  EXPECT_GT(first, 40u);
  EXPECT_LE(first, 60u);
  EXPECT_EQ(indexer->Record(first - 1).error().reason, Reason::kNotFound);
  EXPECT_TRUE(indexer->Record(first));
  EXPECT_EQ(indexer->Search({}, {true, 1000, std::nullopt})->hits.front().sequence, first);
  const auto check = [&] {
    const auto verified = Verify({config_.directory,
                                  {*ledger->verifier_key()},
                                  "",
                                  0,
                                  0,
                                  [&] { return ledger->durable(); },
                                  [](auto, auto) { return true; }});
    ASSERT_TRUE(verified) << verified.error().message;
    EXPECT_EQ(verified->deleted, first);
    const auto tree = indexer->tree();
    const auto proof = (*tree)->InclusionProof(first, 120);
    ASSERT_TRUE(proof) << proof.error().message;
    EXPECT_TRUE(
        VerifyInclusion(LeafHash(AsBytes(*indexer->Record(first))), first, 120, *proof, ledger->durable().root));
  };
  check();

  // After a start, and with what is derived made anew from what is left.
  retention.reset();
  indexer.reset();
  ledger.reset();
  std::filesystem::remove_all(config_.directory / "hashes");
  ledger = *Ledger::Open(config_, clock);
  ledger->Start(signer);
  indexer = Indexer::Start(config_.directory, size);
  ASSERT_TRUE(indexer->WaitFor(120, std::chrono::seconds(30)));
  retention = *Retention::Start(*ledger, *indexer, clock, 0);
  EXPECT_EQ(retention->state().days, 5);
  EXPECT_TRUE(retention->state().stored);
  for (int i = 0; i < 500 && !ledger->verifier_key(); ++i) std::this_thread::sleep_for(milliseconds(10));
  check();
  ASSERT_TRUE(retention->Set(std::nullopt));
  EXPECT_EQ(retention->state().days, 0);
}

TEST_F(LedgerTest, ARequiredSinkHasItBeforeAnyoneIsAnswered) {
  config_.sink = SinkConfig{.path = folder_.path() / "copy", .required = true, .timeout = milliseconds(500)};
  v1::Record record;
  record.mutable_signature()->set_partner("own");
  const auto ledger = Open();
  EXPECT_EQ(*Append(*ledger, {record.SerializeAsString(), record.SerializeAsString()}), 0u);
  EXPECT_EQ(*Append(*ledger, {record.SerializeAsString()}), 2u);
  EXPECT_EQ(*ReadFile(folder_.path() / "copy"),
            "{\"sequence\":\"0\",\"signature\":{\"partner\":\"own\"}}\n"
            "{\"sequence\":\"1\",\"signature\":{\"partner\":\"own\"}}\n"
            "{\"sequence\":\"2\",\"signature\":{\"partner\":\"own\"}}\n");
  EXPECT_EQ(ledger->sink()->written, 3u);
  std::filesystem::remove(folder_.path() / "copy");
  std::filesystem::create_directory(folder_.path() / "copy");  // a file cannot be there any more
  EXPECT_EQ(Append(*ledger, {record.SerializeAsString()}).error().reason, Reason::kLedgerUnavailable);
  EXPECT_FALSE(ledger->sink()->available);
  std::filesystem::remove(folder_.path() / "copy");
  EXPECT_EQ(*Append(*ledger, {record.SerializeAsString()}), 4u) << "what was not answered stands on the ledger";
}

}  // namespace
}  // namespace hallmark::ledger
