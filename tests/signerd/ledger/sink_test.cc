#include "signerd/ledger/sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "hallmark/ledger/v1/record.pb.h"
#include "sample.h"

namespace hallmark::ledger {
namespace {

using namespace std::chrono_literals;

std::string Sample(std::size_t octets = 10) {
  v1::Record record;
  record.mutable_signature()->set_message_id(std::string(octets, 'm'));
  return record.SerializeAsString();
}

Result<std::uint64_t> Send(Sink& sink, std::uint64_t first, std::vector<std::string> records) {
  auto promise = std::make_shared<std::promise<Result<std::uint64_t>>>();
  sink.Send(std::move(records), first, [promise](Result<std::uint64_t> done) { promise->set_value(std::move(done)); });
  return promise->get_future().get();
}

TEST(Sink, WritesEachRecordAsALineOfJson) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "copy";
  {
    const auto sink = Sink::Start({.path = path, .required = true});
    ASSERT_TRUE(sink);
    EXPECT_EQ(*Send(**sink, 7, {Sample(), Sample()}), 7u);
    EXPECT_EQ((*sink)->status().written, 2u);
    // Log rotation takes the file away.
    std::filesystem::rename(path, folder.path() / "old");
    EXPECT_EQ(*Send(**sink, 9, {Sample()}), 9u);
  }
  EXPECT_EQ(*ReadFile(folder.path() / "old"),
            "{\"sequence\":\"7\",\"signature\":{\"message_id\":\"mmmmmmmmmm\"}}\n"
            "{\"sequence\":\"8\",\"signature\":{\"message_id\":\"mmmmmmmmmm\"}}\n");
  EXPECT_EQ(*ReadFile(path), "{\"sequence\":\"9\",\"signature\":{\"message_id\":\"mmmmmmmmmm\"}}\n");
}

// Waits until it says that it takes no more, and has given up what it was writing.
void AwaitFailure(const Sink& sink) {
  const auto failed = [&] { return !sink.status().available && sink.status().dropped > 0; };
  for (int i = 0; i < 3000 && !failed(); ++i) std::this_thread::sleep_for(10ms);
  EXPECT_TRUE(failed());
}

// libsystemd says that all went well where there is no journal.
TEST(Sink, SaysThatThereIsNoJournal) {
  if (std::filesystem::exists("/run/systemd/journal/socket")) GTEST_SKIP() << "this machine has a journal";
  const auto required = Sink::Start({.kind = SinkKind::kJournald, .path = {}, .required = true});
  ASSERT_FALSE(required);
  EXPECT_NE(required.error().message.find("/run/systemd/journal/socket"), std::string::npos);
  const auto sink = Sink::Start({.kind = SinkKind::kJournald, .path = {}});
  ASSERT_TRUE(sink);
  EXPECT_EQ(*Send(**sink, 0, {Sample()}), 0u);
  AwaitFailure(**sink);
  EXPECT_EQ((*sink)->status().written, 0u);
}

// A pipe that nobody reads takes 64 kB and then hangs.
class HangingSink : public testing::Test {
 protected:
  HangingSink() {
    ::mkfifo((folder_.path() / "pipe").c_str(), 0600);
    reader_ = FileDescriptor(::open((folder_.path() / "pipe").c_str(), O_RDONLY | O_NONBLOCK));
  }
  SinkConfig Config(bool required) const {
    return {.path = folder_.path() / "pipe", .required = required, .timeout = 100ms};
  }
  const test::TemporaryFolder folder_;
  FileDescriptor reader_;
};

TEST_F(HangingSink, FailsTheAnswerInTimeWhereItIsRequired) {
  const auto sink = Sink::Start(Config(true));
  ASSERT_TRUE(sink);
  EXPECT_EQ(Send(**sink, 0, {Sample(200'000)}).error().reason, Reason::kLedgerUnavailable);
  AwaitFailure(**sink);
  EXPECT_EQ((*sink)->status().dropped, 1u);
  // Somebody reads again.
  std::string octets(1 << 20, '\0');
  while (::read(reader_.get(), octets.data(), octets.size()) > 0) {
  }
  Result<std::uint64_t> sent = MakeError(Reason::kInternal, "");
  for (int i = 0; i < 300 && !sent; ++i) sent = Send(**sink, 1, {Sample()});
  EXPECT_TRUE(sent);
}

TEST_F(HangingSink, HoldsNobodyUpWhereItIsNot) {
  const auto sink = Sink::Start(Config(false));
  ASSERT_TRUE(sink);
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(*Send(**sink, i, {Sample(100'000)}), i);
  AwaitFailure(**sink);
  EXPECT_GT((*sink)->status().dropped, 0u);
}

TEST_F(HangingSink, IsTriedAgainWithoutBeingAsked) {
  const auto sink = Sink::Start(Config(true));
  ASSERT_TRUE(sink);
  EXPECT_FALSE(Send(**sink, 0, {Sample(200'000)}));
  AwaitFailure(**sink);
  std::string octets(1 << 20, '\0');
  while (::read(reader_.get(), octets.data(), octets.size()) > 0) {
  }
  for (int i = 0; i < 3000 && !(*sink)->status().available; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_TRUE((*sink)->status().available);
}

TEST_F(HangingSink, TakesNoMoreMemoryThanItMay) {
  const auto sink = Sink::Start(Config(false));
  ASSERT_TRUE(sink);
  constexpr std::size_t kMost = Sink::kMostQueuedOctets >> 20;
  for (std::uint64_t i = 0; i < 2 * kMost; ++i) EXPECT_EQ(*Send(**sink, i, {Sample(1 << 20)}), i);
  EXPECT_GE((*sink)->status().dropped, kMost / 2);
}

// Each waited its whole timeout.
TEST_F(HangingSink, EndsSoonWithWhatIsQueuedDropped) {
  std::atomic<int> answered{0}, taken{0};
  std::chrono::steady_clock::time_point begin;
  {
    const auto sink = Sink::Start({.path = folder_.path() / "pipe", .required = true, .timeout = 100s});
    ASSERT_TRUE(sink);
    for (std::uint64_t i = 0; i < 1000; ++i) {
      (*sink)->Send({Sample(60'000)}, i, [&](const Result<std::uint64_t>& done) {
        ++answered;
        if (done) ++taken;
      });
    }
    begin = std::chrono::steady_clock::now();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s);
  EXPECT_EQ(answered, 1000);
  EXPECT_LT(taken, 5);
}

TEST(Sink, TakesAtTheEndWhatIsQueued) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "copy";
  {
    const auto sink = Sink::Start({.path = path});
    ASSERT_TRUE(sink);
    for (std::uint64_t i = 0; i < 200; ++i) (*sink)->Send({Sample()}, i, [](const Result<std::uint64_t>&) {});
  }
  const std::string lines = *ReadFile(path);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 200);
}

// The power failed while a record was written: whoever reads the lines loses that one, and not the next too.
TEST(Sink, AFileThatEndsWithinALineGetsTheNextRecordAsALineOfItsOwn) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "copy";
  const std::string line = "{\"sequence\":\"7\",\"signature\":{\"message_id\":\"mmmmmmmmmm\"}}\n";
  ASSERT_TRUE(WriteFileAtomically(path, "{\"half"));
  for (int starts = 0; starts < 2; ++starts) {
    const auto sink = Sink::Start({.path = path, .required = true});
    ASSERT_TRUE(sink);
    EXPECT_TRUE(Send(**sink, 7, {Sample()}));
  }
  EXPECT_EQ(*ReadFile(path), "{\"half\n" + line + line);
}

TEST(Sink, AFileThatCannotBeOpenedStopsTheStartWhereItIsRequired) {
  EXPECT_EQ(Sink::Start({.path = "/nowhere/at/all", .required = true}).error().reason, Reason::kLedgerUnavailable);
  const auto sink = Sink::Start({.path = "/nowhere/at/all"});
  ASSERT_TRUE(sink);
  EXPECT_FALSE((*sink)->status().available);
}

}  // namespace
}  // namespace hallmark::ledger
