#include "signerd/service/slow_reads.h"

#include <gtest/gtest.h>

namespace hallmark::service {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1 << 20;

// One look every 100 ms, as FloodGuard has them.
class SlowReadsTest : public testing::Test {
 protected:
  struct Peer {
    std::uint64_t octets = 0;                          // read from it between two looks
    std::uint64_t unread = 100'000;                    // at every `waits`th look
    int waits = 1;                                     // 1: at each
    std::function<void(StreamCounts&)> comes_of_it{};  // at every look; empty: nothing
  };

  // Those that were found within so many looks.
  std::set<std::string> Find(const std::map<std::string, Peer>& peers, int looks) {
    std::set<std::string> found;
    for (int look = 0; look < looks; ++look, now_ += 100ms) {
      for (const auto& [name, peer] : peers) {
        const SocketId id = ids_.try_emplace(name, ids_.size() + 1).first->second;
        AcceptedConnection& connection = accepted_[id];
        connection.peer = name;
        connection.read += peer.octets;
        connection.unread = look % peer.waits == 0 ? peer.unread : 0;
        if (peer.comes_of_it) peer.comes_of_it(counts_[id]);
      }
      const auto count = [&](const std::set<SocketId>& wanted) {
        asked_ = std::max(asked_, wanted.size());
        std::map<SocketId, StreamCounts> counts;
        for (const SocketId id : wanted) counts[id] = counts_[id];
        return counts;
      };
      for (const SocketId id : slow_reads_.Find(accepted_, count, now_)) found.insert(accepted_.at(id).peer);
    }
    return found;
  }

  SlowReads slow_reads_;
  SlowReads::Time now_{1000h};
  std::map<std::string, SocketId> ids_;
  AcceptedConnections accepted_;
  std::map<SocketId, StreamCounts> counts_;
  std::size_t asked_ = 0;
};

// Ever more slowly, as what has come of its string is taken in anew with each frame.
TEST_F(SlowReadsTest, AHeaderWithoutEndIsFound) {
  EXPECT_TRUE(Find({{"bomb", {kMiB}}}, 5).empty());
  EXPECT_TRUE(Find({{"bomb", {kMiB / 20}}}, 20).contains("bomb"));
}

TEST_F(SlowReadsTest, SoItIsWhenItWaitsNowAndThen) {
  Peer bomb{kMiB / 20};
  bomb.waits = 2;
  EXPECT_TRUE(Find({{"bomb", bomb}}, 60).contains("bomb"));
}

TEST_F(SlowReadsTest, WhoeverHasCallsThatBeginAndEndIsNot) {
  Peer calls{kMiB / 20};
  calls.comes_of_it = [look = 0](StreamCounts& counts) mutable {
    if (++look % 8 == 0) ++counts.answered;
  };
  Peer stream{kMiB / 20};
  stream.comes_of_it = [](StreamCounts& counts) { ++counts.messages; };
  EXPECT_TRUE(Find({{"calls", calls}, {"stream", stream}}, 200).empty());
}

// 60 MiB over a slow line, and over a quick one to a daemon that is busy.
TEST_F(SlowReadsTest, ALargeMessageIsNot) {
  Peer line{kMiB / 20};
  line.waits = 3;
  EXPECT_TRUE(Find({{"slow line", line}, {"quick line", {kMiB / 5}}}, 300).empty());
}

// For a while, of the daemon or the whole machine: then nobody was read from.
TEST_F(SlowReadsTest, WhatWaitedWhileItStoodStillIsNot) {
  EXPECT_TRUE(Find({{"message", {kMiB / 2}}}, 4).empty());
  now_ += 20s;
  EXPECT_TRUE(Find({{"message", {kMiB / 2}}}, 2).empty());
  Peer over;
  over.comes_of_it = [](StreamCounts& counts) { ++counts.messages; };
  EXPECT_TRUE(Find({{"message", over}}, 50).empty());
}

TEST_F(SlowReadsTest, NorIsOneThatIsNotReadFromAtAll) { EXPECT_TRUE(Find({{"neglected", {0}}}, 200).empty()); }

TEST_F(SlowReadsTest, OfManyThoseWithMostWaitingAreLookedAt) {
  std::map<std::string, Peer> peers{{"bomb", {kMiB / 20, 4'000'000}}};
  for (int i = 0; i < 1000; ++i) peers["peer " + std::to_string(i)] = {kMiB / 20, 1000};
  EXPECT_TRUE(Find(peers, 60).contains("bomb"));
  EXPECT_EQ(asked_, SlowReads::kMost);
}

}  // namespace
}  // namespace hallmark::service
