#include "signerd/ledger/ledger.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <random>
#include <thread>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "ledger/ledger_fixture.h"
#include "sample.h"
#include "signerd/ledger/recipients.h"
#include "signerd/ledger/segment.h"

namespace hallmark::ledger {
namespace {

using std::chrono::milliseconds;

using test::SoftSigner;

class LedgerTest : public test::LedgerFixture {};

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
    ASSERT_EQ(TornFiles(OnlySegment()).size(), cut - whole) << "what was cut off is not kept";
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
  EXPECT_TRUE(WaitFor([&] { return ledger->available(); }));
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
  EXPECT_TRUE(WaitFor([&] { return ledger->available(); }));
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
  const auto notes = SplitCheckpoints(*ReadFile(config_.directory / "checkpoints"));
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_EQ(ParseCheckpoint(notes.back())->root, RootOf({"a", "b", "c"}));
}

TEST_F(LedgerTest, ACheckpointWithAHoleIsCutOffAndSignedAnew) {
  SoftSigner signer;
  {
    const auto ledger = Open();
    ledger->Start(signer);
    for (std::uint64_t size = 1; size <= 2; ++size) {
      Append(*ledger, {"record"}).value();
      ASSERT_TRUE(WaitForCheckpoint(*ledger, size));
    }
  }
  const auto checkpoints = config_.directory / "checkpoints";
  std::string notes = *ReadFile(checkpoints);
  const std::size_t end = SplitCheckpoints(notes).front().size() + 1;
  notes.replace(end, 20, 20, '\0');  // its block went to the disk last, and the power was cut before
  std::ofstream(checkpoints, std::ios::binary) << notes;
  const auto ledger = Open();
  ASSERT_NE(ledger, nullptr);
  EXPECT_EQ(ParseCheckpoint(*ledger->latest_checkpoint())->size, 1u);
  EXPECT_EQ(std::filesystem::file_size(checkpoints), end);
  ledger->Start(signer);
  EXPECT_TRUE(WaitForCheckpoint(*ledger, 2));
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

// The last segment comes from a copy that went on elsewhere, or somebody changed a record and wrote another one.
TEST_F(LedgerTest, AnotherLedgerThatIsAsLongAsItsCheckpointOrLongerIsRefused) {
  SoftSigner signer;
  Append(*Open(), {"a"}).value();
  const std::string old = *ReadFile(OnlySegment());
  {
    const auto ledger = Open();
    ledger->Start(signer);
    Append(*ledger, {"b"}).value();
  }
  const std::string good = *ReadFile(OnlySegment());
  for (const std::vector<std::string>& others : {std::vector<std::string>{"x"}, {"x", "y"}, {"x", "torn"}}) {
    std::string fork = old;
    for (const std::string& other : others) AppendFrame(fork, other);
    if (others.back() == "torn") fork.pop_back();
    std::ofstream(OnlySegment(), std::ios::binary) << fork;
    const auto refused = Ledger::Open(config_, clock_);
    ASSERT_FALSE(refused) << fork;
    EXPECT_EQ(refused.error().reason, Reason::kInvalidArgument);
    EXPECT_NE(refused.error().message.find("newest checkpoint"), std::string::npos) << refused.error().message;
    EXPECT_EQ(*ReadFile(OnlySegment()), fork) << "evidence was destroyed";
  }
  std::string longer = good;
  AppendFrame(longer, "c");
  std::ofstream(OnlySegment(), std::ios::binary) << longer;
  EXPECT_EQ(Open()->durable().size, 3u);
}

TEST_F(LedgerTest, ASegmentBehindOtherRecordsThanThoseOfTheCheckpointIsRefused) {
  SoftSigner signer;
  config_.segment_octets = 1;  // one for each record
  {
    const auto ledger = Open();
    ledger->Start(signer);
    Append(*ledger, {"a"}).value();
  }
  Append(*Open(), {"b"}).value();
  const auto last = SegmentPath(config_.directory, 1);
  std::string fork = EncodeSegmentStart({1, {LeafHash(AsBytes(std::string_view("x")))}, 1'700'000'000'000'000});
  for (const char* octets : {"", "b"}) {
    if (*octets != '\0') AppendFrame(fork, octets);
    std::ofstream(last, std::ios::binary) << fork;
    const auto refused = Ledger::Open(config_, clock_);
    ASSERT_FALSE(refused) << fork;
    EXPECT_NE(refused.error().message.find("newest checkpoint"), std::string::npos) << refused.error().message;
    EXPECT_EQ(*ReadFile(last), fork) << "it was put aside";
  }
}

// A daemon that was killed between write and sync: what it wrote is in the page cache, and nowhere else.
TEST_F(LedgerTest, WhatIsFoundIsDurableBeforeItCounts) {
  SoftSigner signer;
  {
    const auto ledger = Open();
    ledger->Start(signer);
    Append(*ledger, {"a"}).value();
  }
  std::string frame;
  AppendFrame(frame, "b");
  std::ofstream(OnlySegment(), std::ios::binary | std::ios::app) << frame;
  const auto checkpoints = config_.directory / "checkpoints";
  const std::string note = *ReadFile(checkpoints);
  std::ofstream(checkpoints, std::ios::binary | std::ios::app) << note;
  Open().reset();
  disk_.CutPower(0);
  EXPECT_EQ(Records(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(*ReadFile(checkpoints), note + note);
}

TEST_F(LedgerTest, ARecordThatAReaderWouldTakeForDamageIsRefused) {
  const auto ledger = Open();
  const auto refused = [&](std::vector<std::string> records) {
    const auto answer = Append(*ledger, std::move(records));
    return !answer && answer.error().reason == Reason::kMessageTooLarge;
  };
  EXPECT_TRUE(refused({std::string(kMaxRecordOctets + 1, 'x')}));
  EXPECT_TRUE(refused({"good", ""}));
  EXPECT_TRUE(refused(std::vector<std::string>(5, std::string(kMaxRecordOctets, 'x'))));
  EXPECT_EQ(ledger->durable().size, 0u);
  EXPECT_EQ(*Append(*ledger, {std::string(kMaxRecordOctets, 'y')}), 0u);
  EXPECT_EQ(*Append(*ledger, {"z"}), 1u);
  EXPECT_EQ(Records().size(), 2u);
}

TEST_F(LedgerTest, NoWriteIsLongerThanWhatIsTakenForATornTail) {
  const auto ledger = Open();
  std::vector<std::future<Result<std::uint64_t>>> answers;
  for (int i = 0; i < 20; ++i) {
    auto promise = std::make_shared<std::promise<Result<std::uint64_t>>>();
    answers.push_back(promise->get_future());
    ledger->Append(std::vector<std::string>(3, std::string(kMaxRecordOctets, 'x')),
                   [promise](Result<std::uint64_t> sequence) { promise->set_value(std::move(sequence)); });
  }
  for (std::size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(*answers[i].get(), 3 * i);
  EXPECT_LE(disk_.longest_write, Ledger::kMostOctets);
}

TEST_F(LedgerTest, ANewSegmentThatCannotBeBegunIsTriedAgain) {
  config_.segment_octets = 100;
  const auto ledger = Open();
  Append(*ledger, {std::string(200, 'a')}).value();
  disk_.full = true;
  EXPECT_FALSE(Append(*ledger, {"b"}));
  const int refused = disk_.refused;
  ASSERT_TRUE(WaitFor([&] { return disk_.refused > refused + 1; })) << "nobody tried again";
  EXPECT_FALSE(ledger->available());
  disk_.full = false;
  EXPECT_TRUE(WaitFor([&] { return ledger->available(); }));
  EXPECT_EQ(*Append(*ledger, {"b"}), 1u);
  EXPECT_EQ(Records().size(), 2u);
}

TEST_F(LedgerTest, ASegmentThatCannotBeReadIsNotPutAside) {
  Append(*Open(), {"a"}).value();
  const auto last = SegmentPath(config_.directory, 1);
  std::filesystem::create_symlink("/proc/self/mem", last);  // no octets, as it says, and EIO for who reads it
  const auto refused = Ledger::Open(config_, clock_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kIoFailed);
  EXPECT_TRUE(std::filesystem::is_symlink(last));
}

// A host that gets another name has the same ledger, and who keeps its verifier key the right one.
TEST_F(LedgerTest, ItsOriginStaysWithItsKey) {
  SoftSigner signer;
  {
    const auto ledger = Open();
    ledger->Start(signer);
    Append(*ledger, {"a"}).value();
  }
  const std::string kept = *ReadFile(config_.directory / "verifier-key");
  config_.origin = "hallmark/renamed";
  {
    const auto ledger = Open();
    ledger->Start(signer);
    Append(*ledger, {"b"}).value();
    ASSERT_TRUE(WaitForCheckpoint(*ledger, 2));
    EXPECT_EQ(ledger->verifier_key()->name, "hallmark/test");
  }
  EXPECT_EQ(*ReadFile(config_.directory / "verifier-key"), kept);
  for (const std::string& note : SplitCheckpoints(*ReadFile(config_.directory / "checkpoints"))) {
    EXPECT_TRUE(OpenCheckpoint(note, ParseVerifierKeys(kept)->front()));
  }
  SoftSigner other;  // another key signs for the log as it is called now
  const auto ledger = Open();
  ledger->Start(other);
  Append(*ledger, {"c"}).value();
  ASSERT_TRUE(WaitForCheckpoint(*ledger, 3));
  EXPECT_EQ(ledger->verifier_key()->name, "hallmark/renamed");
}

// Years of checkpoints: the first GiB is never looked at.
TEST_F(LedgerTest, AFileOfVeryManyCheckpointsIsReadFromItsEnd) {
  SoftSigner signer;
  {
    const auto ledger = Open();
    ledger->Start(signer);
    for (std::uint64_t size = 1; size <= 2; ++size) {
      Append(*ledger, {"record"}).value();
      ASSERT_TRUE(WaitForCheckpoint(*ledger, size));
    }
  }
  const auto checkpoints = config_.directory / "checkpoints";
  const std::string notes = *ReadFile(checkpoints);
  std::filesystem::resize_file(checkpoints, 0);
  std::filesystem::resize_file(checkpoints, (1ull << 30) + 1);  // a hole
  std::ofstream(checkpoints, std::ios::binary | std::ios::app) << "\n" << notes << notes.substr(0, notes.size() / 3);
  const auto ledger = Open();
  ASSERT_NE(ledger, nullptr);
  EXPECT_EQ(ParseCheckpoint(*ledger->latest_checkpoint())->size, 2u);
  EXPECT_EQ(std::filesystem::file_size(checkpoints), (1ull << 30) + 2 + notes.size());
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
  EXPECT_NE(ledger->trouble().find("second sink"), std::string::npos) << ledger->trouble();
  // While it is down nothing is written that nobody would be told of.
  EXPECT_EQ(Append(*ledger, {record.SerializeAsString()}).error().reason, Reason::kLedgerUnavailable);
  std::filesystem::remove(folder_.path() / "copy");
  // Without anybody asking: a signer that says it cannot sign is not asked.
  EXPECT_TRUE(WaitFor([&] { return ledger->available(); }));
  EXPECT_EQ(*Append(*ledger, {record.SerializeAsString()}), 4u) << "what was not answered stands on the ledger";
}

TEST_F(LedgerTest, WhatDoesNotAwaitARequiredSinkIsAnsweredWhenItIsDurable) {
  const std::filesystem::path pipe = folder_.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const FileDescriptor reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  config_.sink = SinkConfig{.path = pipe, .required = true, .timeout = milliseconds(100)};
  v1::Record record;
  record.mutable_signature()->set_message_id(std::string(200'000, 'm'));  // a pipe that nobody reads takes 64 kB
  const auto ledger = Open();
  EXPECT_TRUE(ledger->AppendAndWait(record, false));
  EXPECT_EQ(ledger->durable().size, 1u);
  EXPECT_TRUE(WaitFor([&] { return !ledger->available(); })) << "it is late for that record too";
  EXPECT_EQ(ledger->AppendAndWait(record, false).error().reason, Reason::kLedgerUnavailable);
  EXPECT_EQ(ledger->durable().size, 1u) << "while it is down nothing is written";
}

TEST_F(LedgerTest, ASinkThatIsNotRequiredMayBeDown) {
  config_.sink = SinkConfig{.path = "/nowhere/at/all", .timeout = milliseconds(500)};
  const auto ledger = Open();
  EXPECT_EQ(*Append(*ledger, {"a"}), 0u);
  EXPECT_FALSE(ledger->sink()->available);
  EXPECT_TRUE(ledger->available());
}

}  // namespace
}  // namespace hallmark::ledger
