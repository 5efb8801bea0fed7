#include "signerd/tokens/pending_key_calls.h"

#include <gtest/gtest.h>

#include <optional>

namespace hallmark::tokens {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

class PendingKeyCallsTest : public testing::Test {
 protected:
  void Add(std::uint64_t id, bool ready) {
    calls_.Add(id, ready, [this, id](const Result<link::KeyReply>& reply) { answers_.emplace(id, reply); });
  }
  std::optional<Reason> ErrorOf(std::uint64_t id) const {
    const auto found = answers_.find(id);
    return found == answers_.end() || found->second ? std::nullopt : std::optional(found->second.error().reason);
  }

  PendingKeyCalls calls_{"hsm"};
  std::map<std::uint64_t, Result<link::KeyReply>> answers_;
};

TEST_F(PendingKeyCallsTest, OneThatTheTokenHadAndDidNotAnswerHangs) {
  Add(1, true);
  EXPECT_FALSE(calls_.FailExpired(steady_clock::now() + 500s));
  EXPECT_TRUE(answers_.empty());
  EXPECT_TRUE(calls_.FailExpired(steady_clock::now() + 601s));
  EXPECT_EQ(ErrorOf(1), Reason::kTokenDown);
  EXPECT_FALSE(calls_.FailExpired(steady_clock::now() + 1300s));
}

TEST_F(PendingKeyCallsTest, OneThatWaitsForTheLoginDoesNotHang) {
  Add(1, false);
  EXPECT_FALSE(calls_.FailExpired(steady_clock::now() + 11s));
  EXPECT_EQ(ErrorOf(1), Reason::kTokenDown);
  Add(2, false);
  calls_.NoteReady(steady_clock::now());
  EXPECT_FALSE(calls_.FailExpired(steady_clock::now() + 500s));
  EXPECT_TRUE(calls_.FailExpired(steady_clock::now() + 601s));
}

// A token makes one after the other: that a call waits for its turn is no hang.
TEST_F(PendingKeyCallsTest, OneThatIsAnsweredGivesTheNextItsTime) {
  Add(1, true);
  Add(2, true);
  const auto later = steady_clock::now() + 500s;
  link::KeyReply reply;
  reply.id = 1;
  calls_.Answer(reply, later);
  EXPECT_TRUE(answers_.at(1));
  EXPECT_FALSE(calls_.FailExpired(later + 500s));
  EXPECT_EQ(answers_.count(2), 0);
  EXPECT_TRUE(calls_.FailExpired(later + 601s));
}

TEST_F(PendingKeyCallsTest, WhatTokendSaysItHasBegunIsUnderWayUntilItsAnswer) {
  Add(1, true);
  EXPECT_FALSE(calls_.Begun());
  const auto now = steady_clock::now();
  calls_.NoteBegun({1, 1}, now);
  ASSERT_TRUE(calls_.Begun());
  EXPECT_EQ(calls_.Begun()->time, now);
  EXPECT_TRUE(calls_.Begun()->alone);
  link::KeyReply reply;
  reply.id = 1;
  calls_.Answer(reply, steady_clock::now());
  EXPECT_FALSE(calls_.Begun());
}

}  // namespace
}  // namespace hallmark::tokens
