#include "signerd/keys/key_manager.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

#include "firmware/runtime/encoding.h"
#include "sample.h"
#include "signerd/keys/erase.h"
#include "signerd/keys/rotation_policy.h"

namespace hallmark::keys {
namespace {

using snapshot::KeyState;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// 2026-01-31 12:00 UTC.
constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'769'860'800)};

// Thrown where the daemon is to die.
struct Died {};

Bytes FreshRsaSpki(std::size_t bits) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pair(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", bits),
                                                                 &EVP_PKEY_free);
  std::uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(pair.get(), &der);
  const Bytes spki(der, der + size);
  OPENSSL_free(der);
  return spki;
}

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
    return Put(cka_id, test::FreshPublicKey()->Spki());
  }
  Result<TokenKey> Find(const std::string& token, const Bytes& cka_id) override {
    if (failure) return *failure;
    const auto found = pairs.find(cka_id);
    if (found == pairs.end()) return MakeError(Reason::kKeyMissing, "no such pair");
    return TokenKey{found->second, sensitive, extractable || token == leaks_from};
  }
  std::vector<std::string> MembersOf(const std::string&) const override { return members; }
  Result<Bytes> BeginImport(const std::string&) override {
    if (failure) return *failure;
    return Bytes{0x30};
  }
  Result<TokenKey> Import(const std::string&, const WrappedKey& wrapped, const Bytes& cka_id,
                          const std::string& label) override {
    if (failure) return *failure;
    ids.push_back(cka_id);
    last_label = label;
    return Put(cka_id, wrapped.spki);
  }
  Status Destroy(const std::string&, const Bytes& cka_id, const Bytes& spki) override {
    if (failure) return *failure;
    const auto found = pairs.find(cka_id);
    if (found != pairs.end() && found->second != spki) return MakeError(Reason::kKeyMismatch, "another pair");
    if (found != pairs.end()) pairs.erase(found);
    return Ok();
  }
  Result<Bytes> Sign(std::shared_ptr<const snapshot::Key>, const std::string&) override {
    if (failure) return *failure;
    return Bytes{1};
  }
  std::set<dkim::Algorithm> makes = {dkim::Algorithm::kRsaSha256, dkim::Algorithm::kEd25519Sha256};
  std::vector<Bytes> ids;        // of pairs that were to be made
  std::map<Bytes, Bytes> pairs;  // their public parts, by CKA_ID
  std::string last_label;
  bool sensitive = true, extractable = false;
  std::vector<std::string> members = {"softhsm"};
  std::string leaks_from;        // a member whose copies can leave it
  std::optional<Error> failure;  // of every call
  // What becomes of the call that has just put a pair into the token.
  std::optional<Error> end;
  bool dies = false, stays_away = false;

 private:
  Result<TokenKey> Put(const Bytes& cka_id, const Bytes& spki) {
    pairs[cka_id] = spki;
    if (std::exchange(dies, false)) throw Died();
    if (!end) return TokenKey{spki, sensitive, extractable};
    if (stays_away) failure = end;
    return *std::exchange(end, std::nullopt);
  }
};

class Keys : public testing::Test {
 protected:
  Keys() { EXPECT_TRUE(store_->InsertDomain({"example.com", "default", kNow})); }
  Result<snapshot::Key> Generate(const std::string& selector = "",
                                 dkim::Algorithm algorithm = dkim::Algorithm::kEd25519Sha256) {
    return manager_.Generate("example.com", selector, {algorithm, 2048}, "");
  }
  Result<snapshot::Key> Import(const std::string& selector) {
    return manager_.Import("example.com", selector, "",
                           {WrappedKey{{1}, {2}, {3}, test::FreshPublicKey()->Spki(), ""}});
  }
  // What key history says is planned and not done.
  std::vector<std::string> Notes() {
    std::vector<std::string> notes;
    for (const auto& event : *store_->ListKeyEvents("example.com", "", 0, 100)) {
      if (event.done == std::chrono::sys_seconds{}) notes.push_back(event.note);
    }
    return notes;
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

// Many receivers do not verify Ed25519.
TEST_F(Keys, TheLastRsaKeyStaysBesideEd25519) {
  for (const std::uint8_t id : {std::uint8_t{1}, std::uint8_t{2}}) {
    signer_.pairs[{id}] = FreshRsaSpki(2048);
    ASSERT_TRUE(manager_.Adopt("example.com", "r" + std::to_string(id), "", {id}));
  }
  for (const char* selector : {"e1", "e2"}) ASSERT_TRUE(Generate(selector));
  for (const char* selector : {"e1", "r1", "r2", "e2"}) {
    ASSERT_TRUE(manager_.Activate("example.com", selector, "alice")) << selector;
  }
  ASSERT_TRUE(manager_.Retire("example.com", "r2", false, "alice")) << "r1 stays";
  const auto refused = manager_.Retire("example.com", "r1", false, "alice");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kStateConflict);
  EXPECT_THAT(refused.error().message, HasSubstr("last active RSA key"));
  EXPECT_EQ(store_->GetKey("example.com", "r1")->state, KeyState::kActive);
  EXPECT_TRUE(manager_.Retire("example.com", "e1", false, "alice"));
  EXPECT_TRUE(manager_.Retire("example.com", "r1", true, "alice"));
  EXPECT_THAT(manager_.Retire("example.com", "e2", false, "alice").error().message, HasSubstr("last active key"));
  EXPECT_EQ(manager_.Retire("example.com", "r1", false, "alice").error().reason, Reason::kStateConflict);
  EXPECT_EQ(manager_.Retire("example.com", "none", false, "alice").error().reason, Reason::kNotFound);
  EXPECT_EQ(manager_.Retire("absent.example", "e2", false, "alice").error().reason, Reason::kNotFound);
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
  signer_.pairs[{1, 2}] = test::FreshPublicKey()->Spki();
  signer_.extractable = true;
  EXPECT_EQ(manager_.Adopt("example.com", "s1", "", {1, 2}).error().reason, Reason::kTokenRefused);
  signer_.extractable = false;
  signer_.sensitive = false;
  EXPECT_EQ(manager_.Adopt("example.com", "s1", "", {1, 2}).error().reason, Reason::kTokenRefused);
  signer_.sensitive = true;
  signer_.members = {"one", "two"};
  signer_.leaks_from = "two";
  const auto refused = manager_.Adopt("example.com", "s1", "", {1, 2});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("token two: "), std::string::npos) << refused.error().message;
  signer_.leaks_from.clear();
  EXPECT_TRUE(manager_.Adopt("example.com", "s1", "", {1, 2}));
}

// The rotation would destroy it one day.
TEST_F(Keys, TheKeyOfTheLedgerIsNotAdopted) {
  const Bytes spki = signer_.pairs[{1, 2}] = signer_.pairs[{3}] = test::FreshPublicKey()->Spki();
  ASSERT_TRUE(store_->InsertLedgerKey({"softhsm", {1, 2}, spki}));
  const auto refused = manager_.Adopt("example.com", "s1", "", {1, 2});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kStateConflict);
  EXPECT_NE(refused.error().message.find("checkpoints"), std::string::npos) << refused.error().message;
  EXPECT_FALSE(manager_.Adopt("example.com", "s1", "", {3})) << "whatever it is called";
  signer_.pairs[{3}] = test::FreshPublicKey()->Spki();
  EXPECT_TRUE(manager_.Adopt("example.com", "s1", "", {3}));
}

TEST_F(Keys, AnRsaKeyOf1024BitsIsNotAdopted) {
  signer_.pairs[{1}] = FreshRsaSpki(1024);
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

TEST_F(Keys, APairThatIsNotRecordedLeavesTheToken) {
  signer_.extractable = true;
  EXPECT_FALSE(Import("old"));
  EXPECT_FALSE(Generate("s1"));
  EXPECT_THAT(signer_.ids, SizeIs(2));
  EXPECT_THAT(signer_.pairs, IsEmpty());
  EXPECT_THAT(Notes(), IsEmpty());
}

// tokend ends with the pair made, and is there again.
TEST_F(Keys, APairWhoseCallFailedLeavesTheToken) {
  for (const bool imported : {true, false}) {
    signer_.end = MakeError(Reason::kTokenDown, "tokend is gone");
    const auto failed = imported ? Import("s1") : Generate("s1");
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().message, "tokend is gone");
    EXPECT_THAT(signer_.pairs, IsEmpty());
    EXPECT_THAT(Notes(), IsEmpty());
  }
}

TEST_F(Keys, APairThatMayBeLeftIsNamedAndGoesAtTheNextTry) {
  for (const bool imported : {true, false}) {
    const std::string selector = imported ? "old" : "s1";
    const auto make = [&] { return imported ? Import(selector) : Generate(selector); };
    signer_.end = MakeError(Reason::kTokenDown, "tokend is gone");
    signer_.stays_away = true;
    const auto failed = make();
    ASSERT_FALSE(failed);
    const Bytes left = signer_.ids.back();
    EXPECT_THAT(failed.error().message, HasSubstr("left in token softhsm with CKA_ID " + HexEncode(left)));
    EXPECT_THAT(Notes(), ElementsAre("CKA_ID " + HexEncode(left) + " in token softhsm"));
    EXPECT_EQ(make().error().reason, Reason::kTokenDown) << "it may still be there";
    EXPECT_THAT(Notes(), SizeIs(1));

    signer_.failure.reset();
    ASSERT_TRUE(signer_.pairs.contains(left));
    const auto made = make();
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_FALSE(signer_.pairs.contains(left));
    EXPECT_TRUE(signer_.pairs.contains(made->cka_id));
    EXPECT_THAT(Notes(), IsEmpty());
  }
}

// The power goes, or signerd ends.
TEST_F(Keys, APairThatACrashLeftIsKnownAndGoesAtTheNextTry) {
  signer_.dies = true;
  EXPECT_THROW(static_cast<void>(Import("old")), Died);
  const Bytes left = signer_.ids.back();
  EXPECT_THAT(Notes(), ElementsAre("CKA_ID " + HexEncode(left) + " in token softhsm"));
  ASSERT_TRUE(Import("other"));
  ASSERT_TRUE(signer_.pairs.contains(left)) << "of another selector";
  ASSERT_TRUE(Import("old"));
  EXPECT_FALSE(signer_.pairs.contains(left));
  EXPECT_THAT(signer_.pairs, SizeIs(2));
  EXPECT_THAT(Notes(), IsEmpty());
}

TEST_F(Keys, APairThatACrashLeftAndThatWasAdoptedStays) {
  signer_.dies = true;
  EXPECT_THROW(static_cast<void>(Import("old")), Died);
  const Bytes left = signer_.ids.back();
  ASSERT_TRUE(manager_.Adopt("example.com", "adopted", "", left));
  ASSERT_TRUE(Import("old"));
  EXPECT_TRUE(signer_.pairs.contains(left));
  EXPECT_THAT(Notes(), IsEmpty());
}

TEST_F(Keys, APairThatACrashLeftIsErasedWithAllOthers) {
  ASSERT_TRUE(Generate("s1"));
  signer_.dies = true;
  EXPECT_THROW(static_cast<void>(Import("old")), Died);
  ASSERT_THAT(signer_.pairs, SizeIs(2));
  const auto erased = EraseKeys(*store_, signer_);
  ASSERT_TRUE(erased) << erased.error().message;
  EXPECT_THAT(signer_.pairs, IsEmpty());
}

TEST_F(Keys, ATokenThatDoesNotAnswerIsGivenNothing) {
  signer_.failure = MakeError(Reason::kTokenDown, "away");
  EXPECT_EQ(Import("old").error().message, "away");
  EXPECT_EQ(Generate("s1").error().message, "away");
  EXPECT_THAT(signer_.ids, IsEmpty());
  EXPECT_THAT(Notes(), IsEmpty());
}

TEST_F(Keys, AfterAFactoryResetHasBegunNoKeyComesIntoTheToken) {
  signer_.pairs[{1}] = test::FreshPublicKey()->Spki();
  const auto adopt = [&] { return manager_.Adopt("example.com", "adopted", "", {1}); };
  EXPECT_TRUE(manager_.StopMaking());
  EXPECT_FALSE(manager_.StopMaking()) << "another one had begun";
  for (const auto& refused : {Generate("s1"), Import("old"), adopt()}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::kShuttingDown);
    EXPECT_THAT(refused.error().message, HasSubstr("factory reset"));
  }
  EXPECT_THAT(signer_.ids, IsEmpty());
  EXPECT_THAT(Notes(), IsEmpty());
  manager_.ResumeMaking();
  EXPECT_TRUE(Generate("s1") && Import("old") && adopt());
}

}  // namespace
}  // namespace hallmark::keys
