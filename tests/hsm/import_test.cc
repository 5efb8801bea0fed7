#include <gtest/gtest.h>
#include <signal.h>

#include "tests/hsm/support/environment.h"
#include "tests/hsm/support/tokend_client.h"
#include "tests/hsm/support/verify.h"
#include "tests/hsm/support/wrap.h"

namespace hallmark::test {
namespace {

using link::KeyReply;
using link::Outcome;
using link::TokenState;

const Bytes kId = {0x0a, 0x0b};
// CKR_GENERAL_ERROR, which SoftHSM answers where something does not unwrap; CKR_FUNCTION_NOT_SUPPORTED.
constexpr const char* kNoUnwrap = "C_UnwrapKey * return 0x54\n";

// A tokend that imports keys, through the faulty module.
class Import {
 public:
  explicit Import(const std::string& rules = "", std::vector<std::string> variables = {}) {
    environment_.WriteFaults(rules);
    options_.faulty = true;
    options_.variables = std::move(variables);
    Start();
  }
  void Start() {
    tokend_.emplace(environment_, options_);
    tokend_->Await<link::Hello>();
    tokend_->AwaitState(TokenState::kReady);
  }

  KeyReply Begin() {
    tokend_->Send(link::BeginImport{++id_});
    return tokend_->Await<KeyReply>();
  }
  void SendOnly(const Wrapped& wrapped, ByteView spki, const Bytes& cka_id = kId) {
    tokend_->Send(link::ImportKey{++id_, cka_id, "imported", wrapped.wrapping_key_sha256, wrapped.secret, wrapped.key,
                                  Bytes(spki.begin(), spki.end())});
  }
  KeyReply Send(const Wrapped& wrapped, ByteView spki, const Bytes& cka_id = kId) {
    SendOnly(wrapped, spki, cka_id);
    return tokend_->Await<KeyReply>();
  }
  KeyReply Send(const LooseKey& key) { return Send(WrapFor(Begin().spki, key.pkcs8), key.spki); }

  bool Signs(const LooseKey& key) {
    tokend_->Define(++key_ref_, Found(), kId);
    const Bytes digest = Sha256("a message");
    const auto outcome = tokend_->Sign(key_ref_, digest);
    return outcome.outcome == Outcome::kOk && Verifies(key.spki, digest, outcome.signature);
  }
  KeyReply Found() {
    tokend_->Send(link::FindKey{++id_, kId});
    return tokend_->Await<KeyReply>();
  }
  // Every object in the token, as another program sees it.
  std::string Objects() const {
    const Ran listed = RunProgram({"pkcs11-tool", "--module", environment_.softhsm_module(), "--token-label",
                                   kTokenLabel, "--login", "--pin", kPin, "--list-objects"},
                                  environment_.Variables());
    EXPECT_EQ(listed.exit_code, 0) << listed.output;
    return listed.output;
  }
  void ExpectNothingLeft() {
    EXPECT_EQ(Found().outcome, Outcome::kKeyMissing);
    EXPECT_EQ(Objects().find("Key Object"), std::string::npos) << Objects();
  }
  // The token is as well as before.
  void ExpectWell() {
    EXPECT_EQ(tokend_->status()->state, TokenState::kReady);
    EXPECT_EQ(tokend_->status()->generation, 1u) << "nobody logged in again";
  }

  HsmEnvironment environment_;
  std::optional<TokendClient> tokend_;

 private:
  TokendClient::Options options_;
  std::uint64_t id_ = 100;
  std::uint32_t key_ref_ = 0;
};

struct Kind {
  const char* name;
  const char* algorithm;
  unsigned bits;
  const char* rules;
};

class ImportedKey : public testing::TestWithParam<Kind> {};

TEST_P(ImportedKey, SignsAndStaysInTheToken) {
  Import import(GetParam().rules);
  const LooseKey key = MakeLooseKey(GetParam().algorithm, GetParam().bits);
  const auto made = import.Send(key);
  ASSERT_EQ(made.outcome, Outcome::kOk) << made.message;
  EXPECT_EQ(made.spki, key.spki);
  EXPECT_EQ(made.sensitive, 1);
  EXPECT_EQ(made.extractable, 0);
  EXPECT_EQ(made.never_extractable, 0) << "it was outside";
  EXPECT_TRUE(import.Signs(key));
  import.ExpectWell();
  const std::string objects = import.Objects();
  EXPECT_NE(objects.find("Private Key Object"), std::string::npos) << objects;
  EXPECT_NE(objects.find("Usage:      sign\n"), std::string::npos) << objects;
  EXPECT_NE(objects.find("Access:     sensitive\n"), std::string::npos) << objects;
  EXPECT_EQ(objects.find("AES"), std::string::npos) << objects;
  EXPECT_EQ(import.tokend_->Destroy(kId, key.spki).outcome, Outcome::kOk);
  import.ExpectNothingLeft();
}
INSTANTIATE_TEST_SUITE_P(All, ImportedKey,
                         testing::Values(Kind{"Rsa2048", "RSA", 2048, ""}, Kind{"Rsa4096", "RSA", 4096, ""},
                                         Kind{"Ed25519", "ED25519", 0, ""},
                                         // A token that cannot unwrap takes what tokend unwrapped (C_CreateObject).
                                         Kind{"Rsa2048Created", "RSA", 2048, kNoUnwrap},
                                         Kind{"Ed25519Created", "ED25519", 0, kNoUnwrap},
                                         // One that makes no pair for it: tokend has a pair of its own.
                                         Kind{"Rsa2048OwnPair", "RSA", 2048, "C_GenerateKeyPair * return 0x70\n"},
                                         Kind{"Ed25519OwnPair", "ED25519", 0, "C_GenerateKeyPair * return 0x70\n"}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ImportOfRsa, IsUnwrappedInTheToken) {
  Import import("C_CreateObject 2+ return 0x54\n");  // the first is the public object
  const LooseKey key = MakeLooseKey("RSA", 2048);
  EXPECT_EQ(import.Send(key).outcome, Outcome::kOk);
}

TEST(ImportOfRsa, ThroughASmartcardOfOneSession) {
  Import import("", {"FAULTY_PKCS11_SIMULATE=sessions=2"});
  const LooseKey key = MakeLooseKey("RSA", 2048);
  const auto made = import.Send(key);
  ASSERT_EQ(made.outcome, Outcome::kOk) << made.message;
  EXPECT_TRUE(import.Signs(key));
}

TEST(ImportOfEd25519, SecretOfAbsurdLengthIsRefused) {
  Import import(std::string(kNoUnwrap) + "C_Decrypt @1 length 0x10000000000\nC_Decrypt @2 length 385\n");
  const LooseKey key = MakeLooseKey("ED25519");
  for (int i = 0; i < 2; ++i) {
    const auto reply = import.Send(key);
    EXPECT_EQ(reply.outcome, Outcome::kTokenRefused) << reply.message;
    EXPECT_NE(reply.message.find("C_Decrypt"), std::string::npos) << reply.message;
    import.ExpectNothingLeft();
  }
  import.ExpectWell();
  EXPECT_EQ(import.Send(key).outcome, Outcome::kOk);
}

class CutShort : public testing::TestWithParam<const char*> {};

// What is in the token then says whose it is, although an Ed25519 private key does not: it can be destroyed.
TEST_P(CutShort, ImportLeavesNothingThatCannotBeDestroyed) {
  Import import;
  const LooseKey key = MakeLooseKey("ED25519");
  const Wrapped wrapped = WrapFor(import.Begin().spki, key.pkcs8);
  import.environment_.WriteFaults(GetParam());
  import.SendOnly(wrapped, key.spki);
  while (import.tokend_->Receive()) {
  }
  ASSERT_EQ(import.tokend_->Wait(), 128 + SIGABRT);
  import.environment_.WriteFaults("");
  import.Start();
  const auto destroyed = import.tokend_->Destroy(kId, key.spki);
  EXPECT_EQ(destroyed.outcome, Outcome::kOk) << destroyed.message;
  import.ExpectNothingLeft();
  EXPECT_EQ(import.Send(key).outcome, Outcome::kOk);
}
INSTANTIATE_TEST_SUITE_P(AtEachCall, CutShort,
                         testing::Values("C_CreateObject @1 crash", "C_UnwrapKey @1 crash", "C_UnwrapKey @2 crash",
                                         "C_CreateObject @2 crash", "C_CreateObject @3 crash", "C_Sign @1 crash"),
                         [](const auto& row) { return "Call" + std::to_string(row.index); });

// What the token says that it can do is how the key is going to be used, and a key that cannot be is not taken.
TEST(ImportOfRsa, IsProvedInTheWayInWhichItIsUsed) {
  const std::string refusal = "C_SignInit * return CKR_MECHANISM_INVALID of CKM_RSA_PKCS\n";
  const LooseKey key = MakeLooseKey("RSA", 2048);
  Import that_signs_no_digests(refusal);
  EXPECT_EQ(that_signs_no_digests.Send(key).outcome, Outcome::kTokenRefused);
  that_signs_no_digests.ExpectNothingLeft();
  Import that_hashes(refusal + "C_GetMechanismInfo * return CKR_MECHANISM_INVALID of CKM_RSA_PKCS\n");
  const auto made = that_hashes.Send(key);
  EXPECT_EQ(made.outcome, Outcome::kOk) << made.message;
}

TEST(ImportedKeys, ManyForOneWrappingKey) {
  Import import;
  const auto begun = import.Begin();
  ASSERT_EQ(begun.outcome, Outcome::kOk) << begun.message;
  EXPECT_EQ(import.Begin().spki, begun.spki);
  for (std::uint8_t i = 0; i < 3; ++i) {
    const LooseKey key = MakeLooseKey("ED25519");
    EXPECT_EQ(import.Send(WrapFor(begun.spki, key.pkcs8), key.spki, {i}).outcome, Outcome::kOk);
  }
}

// What may go wrong with what is sent, for a pair in the token and for one of tokend's own.
class BadImport : public testing::TestWithParam<const char*> {
 protected:
  void Expect(const KeyReply& reply, Outcome outcome, const char* words) {
    EXPECT_EQ(reply.outcome, outcome) << reply.message;
    EXPECT_NE(reply.message.find(words), std::string::npos) << reply.message;
    import_.ExpectNothingLeft();
    import_.ExpectWell();
  }
  Import import_{GetParam()};
  const LooseKey key_ = MakeLooseKey("RSA", 2048), other_ = MakeLooseKey("RSA", 2048);
  const LooseKey ed25519_ = MakeLooseKey("ED25519");
  Wrapped wrapped_ = WrapFor(import_.Begin().spki, key_.pkcs8);
};

TEST_P(BadImport, AnotherPublicKey) {
  Expect(import_.Send(wrapped_, other_.spki), Outcome::kKeyMismatch, "not that of the public key");
  Expect(import_.Send(wrapped_, ed25519_.spki), Outcome::kKeyMismatch, "not that of the public key");
  Expect(import_.Send(WrapFor(import_.Begin().spki, ed25519_.pkcs8), MakeLooseKey("ED25519").spki),
         Outcome::kKeyMismatch, "not that of the public key");
}

TEST_P(BadImport, NoPublicKey) {
  Expect(import_.Send(wrapped_, Bytes{0x30, 0x00}), Outcome::kInvalid, "neither RSA nor Ed25519");
}

TEST_P(BadImport, ChangedOnItsWay) {
  Wrapped changed = wrapped_;
  changed.key[40] ^= 1;
  Expect(import_.Send(changed, key_.spki), Outcome::kInvalid, "does not unwrap");
  changed = wrapped_;
  changed.key.resize(changed.key.size() - 8);
  Expect(import_.Send(changed, key_.spki), Outcome::kInvalid, "does not unwrap");
  changed.key.clear();
  Expect(import_.Send(changed, key_.spki), Outcome::kInvalid, "does not unwrap");
  EXPECT_EQ(import_.Send(wrapped_, key_.spki).outcome, Outcome::kOk) << "the wrapping key is still good";
}

TEST_P(BadImport, WrappedForAnotherKey) {
  Wrapped other = WrapFor(MakeLooseKey("RSA", 3072).spki, key_.pkcs8);
  Expect(import_.Send(other, key_.spki), Outcome::kStale, "begin the import again");
  other.wrapping_key_sha256 = wrapped_.wrapping_key_sha256;
  const auto reply = import_.Send(other, key_.spki);
  EXPECT_TRUE(reply.outcome == Outcome::kInvalid || reply.outcome == Outcome::kTokenRefused) << reply.message;
  import_.ExpectNothingLeft();
  import_.ExpectWell();
}

TEST_P(BadImport, NoPrivateKeyInIt) {
  const Bytes wrapping = import_.Begin().spki;
  Expect(import_.Send(WrapFor(wrapping, Bytes(64, 'x')), key_.spki), Outcome::kInvalid, "PKCS#8");
  Expect(import_.Send(WrapFor(wrapping, key_.spki), key_.spki), Outcome::kInvalid, "private key");
}

TEST_P(BadImport, TheTokenTakesNoPublicObject) {
  import_.environment_.WriteFaults(std::string(GetParam()) + "C_CreateObject * return 0x31\n");  // CKR_DEVICE_MEMORY
  EXPECT_NE(import_.Send(wrapped_, key_.spki).outcome, Outcome::kOk);
  import_.environment_.WriteFaults("");
  // SoftHSM writes the token anew at a login, and another program may find half of it.
  while (import_.tokend_->status()->generation < 2) ASSERT_TRUE(import_.tokend_->Receive());
  EXPECT_EQ(import_.Objects().find("Key Object"), std::string::npos) << import_.Objects();
}

TEST_P(BadImport, ItsSignatureIsWrong) {
  import_.environment_.WriteFaults(std::string(GetParam()) + "C_Sign 1 corrupt\n");
  Expect(import_.Send(wrapped_, key_.spki), Outcome::kKeyMismatch, "not that of the public key");
}

TEST_P(BadImport, TheIdIsTaken) {
  ASSERT_EQ(import_.Send(wrapped_, key_.spki).outcome, Outcome::kOk);
  const auto twice = import_.Send(WrapFor(import_.Begin().spki, other_.pkcs8), other_.spki);
  EXPECT_EQ(twice.outcome, Outcome::kTokenRefused) << twice.message;
  EXPECT_TRUE(import_.Signs(key_)) << "the first is untouched";
}

INSTANTIATE_TEST_SUITE_P(All, BadImport, testing::Values("", "C_GenerateKeyPair * return 0x70\n"),
                         [](const auto& row) { return row.index == 0 ? "PairInToken" : "OwnPair"; });

TEST(StaleWrappingKey, AfterAnotherLogin) {
  Import import;
  const LooseKey key = MakeLooseKey("ED25519");
  const Wrapped wrapped = WrapFor(import.Begin().spki, key.pkcs8);
  import.environment_.WriteFaults("C_FindObjectsInit 1 return 0x101\n");  // CKR_USER_NOT_LOGGED_IN
  EXPECT_EQ(import.Found().outcome, Outcome::kTokenDown);
  import.environment_.WriteFaults("");
  const auto reply = import.Send(wrapped, key.spki);
  EXPECT_TRUE(reply.outcome == Outcome::kStale || reply.outcome == Outcome::kTokenDown) << reply.message;
  EXPECT_EQ(import.Send(key).outcome, Outcome::kOk);
}

}  // namespace
}  // namespace hallmark::test
