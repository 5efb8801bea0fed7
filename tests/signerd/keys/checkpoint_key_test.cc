#include "signerd/checkpoint_key.h"

#include <gtest/gtest.h>

#include "keys/fake_tokens.h"
#include "sample.h"
#include "signerd/keys/noted_pairs.h"
#include "signerd/store/sqlite.h"

namespace hallmark {
namespace {

// A store that can be full, and a token that makes pairs.
class CheckpointKeyTest : public testing::Test {
 protected:
  CheckpointKeyTest() { signer_.SetGenerated(made_); }

  static tokens::TokenConfig Config() {
    tokens::TokenConfig config;
    config.name = "softhsm";
    return config;
  }
  // As a daemon that was started anew would.
  Result<std::array<std::uint8_t, 32>> PublicKey() {
    return CheckpointKey(*store_, tokens_, signer_, clock_, "softhsm").PublicKey();
  }
  void Fill(const std::string& table) {
    ASSERT_TRUE(database_.Execute("CREATE TRIGGER full BEFORE INSERT ON " + table +
                                  " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"));
  }
  void MakeRoom() { ASSERT_TRUE(database_.Execute("DROP TRIGGER full")); }
  std::size_t Noted() { return keys::ListNotedPairs(*store_)->size(); }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "hallmark.db";
  const std::unique_ptr<store::Store> store_ = *store::Store::Open(path_);
  store::Database database_ = *store::Database::Open(path_);  // beside it, to have it fail
  tokens::TokenSet tokens_{"", {Config()}};                   // is not started: nothing is signed
  test::FakeTokens signer_;
  const SystemClock clock_;
  const keys::TokenKey made_{test::FreshPublicKey()->Spki(), true, false};
};

TEST_F(CheckpointKeyTest, IsMadeOnceAndFoundAgain) {
  const auto first = PublicKey();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(*PublicKey(), *first);
  EXPECT_EQ(signer_.generations(), 1);
  EXPECT_EQ(Noted(), 0u);
}

TEST_F(CheckpointKeyTest, APairThatCannotBeNotedIsNotMade) {
  Fill("key_event");
  EXPECT_FALSE(PublicKey());
  EXPECT_EQ(signer_.generations(), 0);
}

TEST_F(CheckpointKeyTest, APairThatIsNotRecordedIsDestroyed) {
  Fill("ledger_key");
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(PublicKey());
  EXPECT_EQ(signer_.generations(), 3);
  EXPECT_EQ(signer_.size(), 0u);
  EXPECT_EQ(Noted(), 0u);
  MakeRoom();
  EXPECT_TRUE(PublicKey());
  EXPECT_EQ(signer_.size(), 1u);
}

TEST_F(CheckpointKeyTest, APairThatCanLeaveTheTokenIsDestroyed) {
  signer_.SetGenerated({made_.spki, true, true});
  EXPECT_EQ(PublicKey().error().reason, Reason::kTokenRefused);
  EXPECT_EQ(signer_.size(), 0u);
  EXPECT_FALSE(store_->GetLedgerKey()->has_value());
}

TEST_F(CheckpointKeyTest, APairWhoseReplyWasLostIsDestroyed) {
  signer_.SetGenerated(made_, MakeError(Reason::kTokenDown, "the token did not answer"));
  EXPECT_EQ(PublicKey().error().reason, Reason::kTokenDown);
  EXPECT_EQ(signer_.size(), 0u);
}

// The daemon ended, or the token went, before the pair was destroyed.
TEST_F(CheckpointKeyTest, WhatIsLeftIsDestroyedBeforeAnotherIsMade) {
  const Bytes left{1, 2, 3};
  signer_.Put("softhsm", left, made_.spki);
  ASSERT_TRUE(keys::NotePair(*store_, {"", "hallmark-ledger", "softhsm", left}, clock_.Now()));
  signer_.SetSilent("softhsm", true);
  const auto silent = PublicKey();
  EXPECT_EQ(silent.error().reason, Reason::kTokenDown);
  EXPECT_NE(silent.error().message.find("the next try destroys it"), std::string::npos) << silent.error().message;
  EXPECT_EQ(signer_.generations(), 0);
  EXPECT_EQ(Noted(), 1u);
  signer_.SetSilent("softhsm", false);
  EXPECT_TRUE(PublicKey());
  EXPECT_EQ(signer_.Find("softhsm", left).error().reason, Reason::kKeyMissing);
  EXPECT_EQ(signer_.size(), 1u);
  EXPECT_EQ(Noted(), 0u);
}

TEST_F(CheckpointKeyTest, TheRecordedPairStaysWhereItsNoteWasLeft) {
  ASSERT_TRUE(PublicKey());
  const auto recorded = *store_->GetLedgerKey();
  ASSERT_TRUE(keys::NotePair(*store_, {"", "hallmark-ledger", recorded->token, recorded->cka_id}, clock_.Now()));
  EXPECT_TRUE(PublicKey());
  EXPECT_TRUE(signer_.Find(recorded->token, recorded->cka_id));
  EXPECT_EQ(Noted(), 0u);
}

}  // namespace
}  // namespace hallmark
