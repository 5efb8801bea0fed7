#include "signerd/keys/presence.h"

#include <gtest/gtest.h>

#include "fake_tokens.h"
#include "sample.h"
#include "signerd/keys/erase.h"

namespace hallmark::keys {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'800'000'000)};

class PresenceTest : public testing::Test {
 protected:
  std::shared_ptr<const snapshot::Key> Add(const std::string& domain, const std::string& selector,
                                           const std::string& token = "softhsm") {
    snapshot::Key key = test::SampleKey(domain, selector);
    key.token = token;
    tokens_.Put(token, key.cka_id, key.public_key->Spki());
    keys_.push_back(std::make_shared<const snapshot::Key>(std::move(key)));
    return keys_.back();
  }
  // What it has found when it has looked at all keys at least once, and `good` holds of it.
  template <class Good>
  Presence::View WaitUntil(const Presence& presence, Good good) {
    Presence::View view = presence.view();
    for (int i = 0; i < 1000 && !good(view); ++i) {
      std::this_thread::sleep_for(milliseconds(10));
      view = presence.view();
    }
    EXPECT_TRUE(good(view));
    return view;
  }

  test::FakeTokens tokens_;
  Presence::Keys keys_;
  Presence presence_{[this] { return keys_; }, tokens_, std::chrono::hours(24), milliseconds(20)};
};

TEST_F(PresenceTest, SaysWhichKeysAreMissingAndWhenTheyAreBack) {
  const auto there = Add("a.example", "there"), lost = Add("b.example", "lost"), other = Add("a.example", "other");
  tokens_.Lose("softhsm", lost->cka_id);
  tokens_.Put("softhsm", other->cka_id, test::FreshPublicKey()->Spki());
  Add("c.example", "gone", "removed");
  EXPECT_EQ(presence_.view().time, std::chrono::sys_seconds{});
  presence_.Start();
  const auto view = WaitUntil(presence_, [](const auto& now) { return now.looked == 4; });
  ASSERT_EQ(view.missing.size(), 3u);
  EXPECT_EQ(view.missing[0].selector, "other");
  EXPECT_NE(view.missing[0].why.find("another key"), std::string::npos);
  EXPECT_EQ(view.missing[1].domain, "b.example");
  EXPECT_NE(view.missing[1].why.find("not in the token softhsm"), std::string::npos);
  EXPECT_NE(view.missing[2].why.find("not in the configuration"), std::string::npos);
  tokens_.Put("softhsm", lost->cka_id, lost->public_key->Spki());
  WaitUntil(presence_, [](const auto& now) { return now.missing.size() == 2; });
}

TEST_F(PresenceTest, ASilentTokenSaysNothingOfItsKeys) {
  const auto key = Add("a.example", "one");
  tokens_.Lose("softhsm", key->cka_id);
  tokens_.SetSilent("softhsm", true);
  presence_.Start();
  auto view = WaitUntil(presence_, [](const auto& now) { return now.keys == 1; });
  EXPECT_EQ(view.looked, 0u);
  EXPECT_TRUE(view.missing.empty());
  tokens_.SetSilent("softhsm", false);
  WaitUntil(presence_, [](const auto& now) { return now.missing.size() == 1; });
  tokens_.SetSilent("softhsm", true);  // what was missing is missing still, as far as anyone knows
  view = WaitUntil(presence_, [](const auto& now) { return now.looked == 0; });
  EXPECT_EQ(view.missing.size(), 1u);
}

class PresenceInAGroup : public PresenceTest {
 protected:
  // In the tokens of the group that are named.
  std::shared_ptr<const snapshot::Key> AddIn(const std::string& selector, std::initializer_list<const char*> members) {
    const auto key = Add("a.example", selector, "group");
    tokens_.Lose("group", key->cka_id);
    for (const char* member : members) tokens_.Put(member, key->cka_id, key->public_key->Spki());
    return key;
  }
};

TEST_F(PresenceInAGroup, SaysWhichTokensAreWithoutAKey) {
  AddIn("both", {"one", "two"});
  const auto half = AddIn("half", {"one"});
  AddIn("none", {});
  presence_.Start();
  const auto view = WaitUntil(presence_, [](const auto& now) { return now.looked == 3; });
  ASSERT_EQ(view.partial.size(), 1u);
  EXPECT_EQ(view.partial[0].token, "two");
  EXPECT_EQ(view.TokensWithout("a.example", "half"), std::vector<std::string>{"two"});
  EXPECT_TRUE(view.TokensWithout("a.example", "both").empty());
  ASSERT_EQ(view.missing.size(), 1u);
  EXPECT_EQ(view.missing[0].selector, "none");
  EXPECT_EQ(view.missing[0].token, "group");
  tokens_.Put("two", half->cka_id, half->public_key->Spki());
  WaitUntil(presence_, [](const auto& now) { return now.partial.empty(); });
}

TEST_F(PresenceInAGroup, AKeyThatMayBeInASilentTokenIsNotMissing) {
  const auto there = AddIn("there", {"one"}), unknown = AddIn("unknown", {"two"});
  tokens_.SetSilent("two", true);
  presence_.Start();
  const auto view = WaitUntil(presence_, [](const auto& now) { return now.keys == 2; });
  EXPECT_EQ(view.looked, 1u);
  EXPECT_TRUE(view.missing.empty());
  EXPECT_TRUE(view.partial.empty());
}

class EraseTest : public testing::Test {
 protected:
  EraseTest() {
    for (const char* domain : {"a.example", "b.example"}) {
      EXPECT_TRUE(store_->InsertDomain({domain, "default", kNow}));
      snapshot::Key key = test::SampleKey(domain, std::string("s-") + domain);
      key.token = domain == std::string("a.example") ? "softhsm" : "second";
      tokens_.Put(key.token, key.cka_id, key.public_key->Spki());
      EXPECT_TRUE(store_->InsertKey(key));
    }
    const Bytes id = {1}, spki = test::FreshPublicKey()->Spki();
    tokens_.Put("softhsm", id, spki);
    EXPECT_TRUE(store_->InsertLedgerKey({"softhsm", id, spki}));
    // A pair that was made, and whose record was lost in a crash.
    store::RotationCommit commit;
    commit.domain = "a.example";
    commit.plan.push_back({"planned", "second", Bytes{2}, {}, 1});
    EXPECT_TRUE(store_->CommitRotation(commit));
    tokens_.Put("second", Bytes{2}, test::FreshPublicKey()->Spki());
  }
  test::TemporaryFolder folder_;
  std::unique_ptr<store::Store> store_ = std::move(*store::Store::Open(folder_.path() / "hallmark.db"));
  test::FakeTokens tokens_;
};

TEST_F(EraseTest, DestroysEveryPairThatIsKnown) {
  tokens_.Put("softhsm", Bytes{9}, test::FreshPublicKey()->Spki());  // somebody else's
  const auto erased = EraseKeys(*store_, tokens_);
  ASSERT_TRUE(erased) << erased.error().message;
  EXPECT_EQ(erased->destroyed, 4u);
  EXPECT_TRUE(erased->left.empty());
  EXPECT_EQ(tokens_.size(), 1u);
  EXPECT_TRUE(EraseKeys(*store_, tokens_)) << "it can be repeated";
}

TEST_F(EraseTest, DestroysNothingWhereATokenIsSilent) {
  tokens_.SetSilent("second", true);
  const auto erased = EraseKeys(*store_, tokens_);
  ASSERT_FALSE(erased);
  EXPECT_EQ(erased.error().reason, Reason::kTokenDown);
  EXPECT_EQ(tokens_.size(), 4u);
}

TEST_F(EraseTest, LeavesTheKeysOfATokenThatIsLostWhereThatWasSaid) {
  tokens_.SetSilent("second", true);
  const auto erased = EraseKeys(*store_, tokens_, {"second"});
  ASSERT_TRUE(erased) << erased.error().message;
  EXPECT_EQ(erased->destroyed, 2u);
  EXPECT_EQ(tokens_.size(), 2u);
  ASSERT_EQ(erased->left.size(), 2u);
  EXPECT_TRUE(erased->left[0].starts_with("second: s-b.example._domainkey.b.example, CKA_ID ")) << erased->left[0];
  EXPECT_EQ(erased->left[1], "second: planned._domainkey.a.example, CKA_ID 02: token second is down");
}

TEST_F(EraseTest, LeavesOnlyWhatATokenRefusesToDestroy) {
  tokens_.Refuse("second", Bytes{2});
  EXPECT_EQ(EraseKeys(*store_, tokens_).error().reason, Reason::kTokenRefused);
  const auto erased = EraseKeys(*store_, tokens_, {"second"});
  ASSERT_TRUE(erased) << erased.error().message;
  EXPECT_EQ(erased->destroyed, 3u);
  EXPECT_EQ(erased->left, std::vector<std::string>{"second: planned._domainkey.a.example, CKA_ID 02: it may not be"});
  EXPECT_EQ(tokens_.size(), 1u);
}

TEST_F(EraseTest, LeavesNothingInOtherTokens) {
  tokens_.SetSilent("softhsm", true);
  EXPECT_EQ(EraseKeys(*store_, tokens_, {"second"}).error().reason, Reason::kTokenDown);
  EXPECT_EQ(tokens_.size(), 4u);
}

TEST_F(EraseTest, ATokenIsLeftByItsRightName) {
  EXPECT_TRUE(CheckLeave(*store_, {}));
  EXPECT_TRUE(CheckLeave(*store_, {"softhsm", "second"}));
  EXPECT_EQ(CheckLeave(*store_, {"softhsm", "secund"}).error().reason, Reason::kInvalidArgument);
}

}  // namespace
}  // namespace hallmark::keys
