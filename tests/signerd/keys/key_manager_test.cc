#include "signerd/keys/key_manager.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <gtest/gtest.h>

#include <set>

#include "sample.h"
#include "signerd/keys/rotation_policy.h"

namespace hallmark::keys {
namespace {

using snapshot::KeyState;

// 2026-01-31 12:00 UTC.
constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'769'860'800)};

// A token that gives what the test asks for.
class ScriptedSigner final : public Signer {
 public:
  bool HasToken(const std::string& token) const override { return token == "softhsm"; }
  std::string DefaultToken() const override { return "softhsm"; }
  Status CanMake(const std::string& token, dkim::Algorithm algorithm) const override {
    if (!makes.contains(algorithm)) return MakeError(Reason::kTokenRefused, "token " + token + " makes no such keys");
    return Ok();
  }
  Result<TokenKey> Generate(const std::string&, const KeySpec&, const Bytes& cka_id,
                            const std::string& label) override {
    ids.push_back(cka_id);
    last_label = label;
    if (failure) return *failure;
    return TokenKey{test::FreshPublicKey()->Spki(), sensitive, extractable};
  }
  Result<TokenKey> Find(const std::string&, const Bytes& cka_id) override {
    if (failure) return *failure;
    ids.push_back(cka_id);
    return TokenKey{spki.empty() ? test::FreshPublicKey()->Spki() : spki, sensitive, extractable};
  }
  Result<Bytes> BeginImport(const std::string&) override {
    if (failure) return *failure;
    return Bytes{0x30};
  }
  Result<TokenKey> Import(const std::string&, const WrappedKey& wrapped, const Bytes& cka_id,
                          const std::string& label) override {
    if (failure) return *failure;
    ids.push_back(cka_id);
    last_label = label;
    return TokenKey{wrapped.spki, sensitive, extractable};
  }
  Status Destroy(const std::string&, const Bytes& cka_id, const Bytes&) override {
    if (failure) return *failure;
    destroyed.push_back(cka_id);
    return Ok();
  }
  Result<Bytes> Sign(std::shared_ptr<const snapshot::Key>, const std::string&) override {
    if (failure) return *failure;
    return Bytes{1};
  }
  std::set<dkim::Algorithm> makes = {dkim::Algorithm::kRsaSha256, dkim::Algorithm::kEd25519Sha256};
  std::vector<Bytes> ids, destroyed;
  std::string last_label;
  Bytes spki;
  bool sensitive = true, extractable = false;
  std::optional<Error> failure;
};

class Keys : public testing::Test {
 protected:
  Keys() { EXPECT_TRUE(store_->InsertDomain({"example.com", "default", kNow})); }
  Result<snapshot::Key> Generate(const std::string& selector = "",
                                 dkim::Algorithm algorithm = dkim::Algorithm::kEd25519Sha256) {
    return manager_.Generate("example.com", selector, {algorithm, 2048}, "");
  }
  test::TemporaryFolder folder_;
  std::unique_ptr<store::Store> store_ = std::move(*store::Store::Open(folder_.path() / "hallmark.db"));
  ScriptedSigner signer_;
  ManualClock clock_{kNow};
  int published_ = 0;
  KeyManager manager_{*store_, signer_, clock_, [this]() -> Status {
                        ++published_;
                        return Ok();
                      }};
};

TEST(Transitions, OnlyTheRowsOfTheTable) {
  EXPECT_EQ(Next(KeyState::kGenerated, Act::kActivate), KeyState::kActive);
  EXPECT_EQ(Next(KeyState::kRetiring, Act::kActivate), KeyState::kActive);
  EXPECT_EQ(Next(KeyState::kActive, Act::kRetire), KeyState::kRetiring);
  EXPECT_EQ(Next(KeyState::kActive, Act::kActivate), std::nullopt);
  EXPECT_EQ(Next(KeyState::kGenerated, Act::kRetire), std::nullopt);
  EXPECT_EQ(Next(KeyState::kRetiring, Act::kRetire), std::nullopt);
  EXPECT_EQ(Next(KeyState::kRetiring, Act::kRevoke), KeyState::kRevoked);
  EXPECT_EQ(Next(KeyState::kActive, Act::kRevoke), std::nullopt);
  // Nothing signs again once verifiers were told.
  for (const KeyState state : {KeyState::kRevoked, KeyState::kWithdrawn, KeyState::kDestroyed}) {
    for (const Act act : {Act::kPublish, Act::kConfirm, Act::kActivate, Act::kRetire, Act::kRevoke}) {
      EXPECT_EQ(Next(state, act), std::nullopt) << StateName(state);
    }
  }
  EXPECT_EQ(Next(KeyState::kDestroyed, Act::kWithdraw), std::nullopt);
  EXPECT_EQ(Transitions().size(), 14u);
}

TEST_F(Keys, SelectorSaysAlgorithmAndDateAndIsNeverUsedTwice) {
  EXPECT_EQ(Generate()->selector, "e20260131");
  EXPECT_EQ(Generate()->selector, "e20260131a");
  EXPECT_EQ(Generate()->selector, "e20260131b");
  EXPECT_EQ(signer_.last_label, "e20260131b._domainkey.example.com");
  EXPECT_EQ(Generate("e20260131").error().reason, Reason::kAlreadyExists);
}

TEST_F(Keys, EachGetsAnIdOfItsOwn) {
  ASSERT_TRUE(Generate("a"));
  ASSERT_TRUE(Generate("b"));
  EXPECT_EQ(signer_.ids[0].size(), 16u);
  EXPECT_NE(signer_.ids[0], signer_.ids[1]);
}

TEST_F(Keys, BadNamesChangeNothingInTheToken) {
  for (const char* selector : {"UPPER", "a..b", "-a", "a;b", "a b", ".a", "a\r\nb"}) {
    EXPECT_EQ(Generate(selector).error().reason, Reason::kInvalidArgument) << selector;
  }
  EXPECT_EQ(manager_.Generate("absent.example", "a", {}, "").error().reason, Reason::kNotFound);
  EXPECT_EQ(manager_.Generate("example.com", "a", {}, "other").error().reason, Reason::kNotFound);
  EXPECT_TRUE(signer_.ids.empty());
}

TEST_F(Keys, WhatTheTokenCannotMakeIsRefusedWithAdvice) {
  signer_.makes = {dkim::Algorithm::kRsaSha256};
  const auto refused = Generate("");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kTokenRefused);
  EXPECT_NE(refused.error().message.find("token softhsm"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("--algorithm rsa2048"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(signer_.ids.empty());
  EXPECT_TRUE(Generate("", dkim::Algorithm::kRsaSha256));

  store::RotationPolicy policy;  // by default both kinds
  const Status both = CheckToken(signer_, policy);
  ASSERT_FALSE(both);
  EXPECT_NE(both.error().message.find("dkimctl key policy set"), std::string::npos) << both.error().message;
  policy.algorithms = {{dkim::Algorithm::kRsaSha256, 2048}};
  EXPECT_TRUE(CheckToken(signer_, policy));
  policy.token = "none";
  EXPECT_EQ(CheckToken(signer_, policy).error().reason, Reason::kNotFound);
}

TEST_F(Keys, LifeOfAKey) {
  ASSERT_TRUE(Generate("s1"));
  EXPECT_EQ(published_, 0);
  const auto active = manager_.Activate("example.com", "s1", "alice");
  ASSERT_TRUE(active);
  EXPECT_EQ(active->state, KeyState::kActive);
  EXPECT_EQ(published_, 1);
  EXPECT_EQ(manager_.Activate("example.com", "s1", "alice").error().reason, Reason::kStateConflict);

  EXPECT_EQ(manager_.Retire("example.com", "s1", false, "alice").error().reason, Reason::kStateConflict);
  EXPECT_EQ(store_->GetKey("example.com", "s1")->state, KeyState::kActive);
  clock_.Set(kNow + std::chrono::hours(1));
  ASSERT_TRUE(manager_.Retire("example.com", "s1", true, "alice"));
  EXPECT_EQ(store_->GetKey("example.com", "s1")->state, KeyState::kRetiring);
  EXPECT_EQ(store_->GetKey("example.com", "s1")->state_since, kNow + std::chrono::hours(1));
  EXPECT_TRUE(manager_.Activate("example.com", "s1", "alice"));
}

TEST_F(Keys, ARevokedKeyStaysRevoked) {
  ASSERT_TRUE(Generate("s1"));
  ASSERT_TRUE(manager_.Activate("example.com", "s1", "alice"));
  EXPECT_EQ(manager_.CanRevoke("example.com", "s1").error().reason, Reason::kStateConflict);
  EXPECT_EQ(manager_.Revoke("example.com", "s1", "alice").error().reason, Reason::kStateConflict);
  ASSERT_TRUE(manager_.Retire("example.com", "s1", true, "alice"));
  EXPECT_TRUE(manager_.CanRevoke("example.com", "s1"));
  EXPECT_EQ(manager_.Revoke("example.com", "s1", "alice")->state, KeyState::kRevoked);
  EXPECT_EQ(manager_.Activate("example.com", "s1", "alice").error().reason, Reason::kStateConflict);
  EXPECT_EQ(Generate("s1").error().reason, Reason::kAlreadyExists);
}

TEST_F(Keys, AKeyThatCannotSignIsNotActivated) {
  ASSERT_TRUE(Generate("s1"));
  signer_.failure = MakeError(Reason::kTokenDown, "away");
  EXPECT_EQ(manager_.Activate("example.com", "s1", "alice").error().reason, Reason::kTokenDown);
  EXPECT_EQ(store_->GetKey("example.com", "s1")->state, KeyState::kGenerated);
  EXPECT_EQ(published_, 0);
}

TEST_F(Keys, AKeyThatCanLeaveTheTokenIsRefused) {
  signer_.extractable = true;
  EXPECT_EQ(manager_.Adopt("example.com", "s1", "", {1, 2}).error().reason, Reason::kTokenRefused);
  signer_.extractable = false;
  signer_.sensitive = false;
  EXPECT_EQ(manager_.Adopt("example.com", "s1", "", {1, 2}).error().reason, Reason::kTokenRefused);
  signer_.sensitive = true;
  EXPECT_TRUE(manager_.Adopt("example.com", "s1", "", {1, 2}));
}

TEST_F(Keys, AnRsaKeyOf1024BitsIsNotAdopted) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> weak(
      EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(1024)), &EVP_PKEY_free);
  std::uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(weak.get(), &der);
  signer_.spki.assign(der, der + size);
  OPENSSL_free(der);
  const auto adopted = manager_.Adopt("example.com", "s1", "", {1});
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().reason, Reason::kInvalidArgument);
  EXPECT_NE(adopted.error().message.find("2048"), std::string::npos);
}

TEST_F(Keys, AnImportedKeyIsExposedAndSignsNothingYet) {
  const Bytes spki = test::FreshPublicKey()->Spki();
  EXPECT_EQ(manager_.BeginImport("")->token, "softhsm");
  EXPECT_EQ(manager_.BeginImport("other").error().reason, Reason::kNotFound);
  const auto imported = manager_.Import("example.com", "old", "", {WrappedKey{{1}, {2}, {3}, spki, ""}});
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_EQ(imported->state, KeyState::kGenerated);
  const auto kept = store_->GetKey("example.com", "old");
  EXPECT_TRUE(kept->exposed);
  EXPECT_EQ(kept->public_key->Spki(), spki);
  EXPECT_EQ(signer_.last_label, "old._domainkey.example.com");
  EXPECT_FALSE(store_->GetKey("example.com", Generate()->selector)->exposed);
  EXPECT_EQ(manager_.Import("example.com", "old", "", {WrappedKey{{1}, {2}, {3}, spki, ""}}).error().reason,
            Reason::kAlreadyExists);
  EXPECT_EQ(manager_.Import("example.com", "", "", {WrappedKey{{1}, {2}, {3}, spki, ""}}).error().reason,
            Reason::kInvalidArgument);
  EXPECT_EQ(manager_.Import("absent.example", "old", "", {WrappedKey{{1}, {2}, {3}, spki, ""}}).error().reason,
            Reason::kNotFound);
}

TEST_F(Keys, WhatCannotBeUsedIsNotPutIntoTheToken) {
  EXPECT_EQ(manager_.Import("example.com", "old", "", {WrappedKey{{1}, {2}, {3}, {0x30, 0x00}, ""}}).error().reason,
            Reason::kInvalidArgument);
  EXPECT_TRUE(signer_.ids.empty());
}

TEST_F(Keys, AnImportedKeyThatIsNotRecordedLeavesTheToken) {
  signer_.extractable = true;
  EXPECT_FALSE(
      manager_.Import("example.com", "old", "", {WrappedKey{{1}, {2}, {3}, test::FreshPublicKey()->Spki(), ""}}));
  EXPECT_EQ(signer_.destroyed, signer_.ids);
  EXPECT_EQ(signer_.ids.size(), 1u);
}

TEST_F(Keys, AKeyThatWasMadeButNotRecordedIsNamed) {
  signer_.extractable = true;
  const auto made = Generate("s1");
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("CKA_ID"), std::string::npos) << made.error().message;
}

}  // namespace
}  // namespace hallmark::keys
