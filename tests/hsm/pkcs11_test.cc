#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <vector>

#include "hsm/pkcs11/key_template.h"
#include "hsm/pkcs11/module.h"
#include "hsm/pkcs11/public_part.h"
#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"
#include "tests/hsm/support/environment.h"
#include "tests/hsm/support/verify.h"

// SoftHSM 2.6.1 loses some octets at each C_SignInit with an Ed25519 key. To know them as its own, the leak checker
// needs whole stacks, and the library still loaded at the end (see InProcess).
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "fast_unwind_on_malloc=0"; }

namespace hallmark::pkcs11 {
namespace {

TEST(ReturnValue, SaysWhatHasToBeDone) {
  struct Row {
    CK_RV value;
    Reason reason;
    Recovery recovery;
  };
  const Row rows[] = {
      {CKR_MECHANISM_INVALID, Reason::kTokenRefused, Recovery::kNone},
      {CKR_KEY_FUNCTION_NOT_PERMITTED, Reason::kTokenRefused, Recovery::kNone},
      {CKR_OPERATION_ACTIVE, Reason::kTokenDown, Recovery::kSession},
      {CKR_FUNCTION_FAILED, Reason::kTokenDown, Recovery::kSession},
      {CKR_VENDOR_DEFINED + 7, Reason::kTokenDown, Recovery::kSession},
      {CKR_USER_NOT_LOGGED_IN, Reason::kTokenDown, Recovery::kLogin},
      {CKR_SESSION_HANDLE_INVALID, Reason::kTokenDown, Recovery::kLogin},
      {CKR_SESSION_CLOSED, Reason::kTokenDown, Recovery::kLogin},
      {CKR_OBJECT_HANDLE_INVALID, Reason::kTokenDown, Recovery::kLogin},
      {CKR_KEY_HANDLE_INVALID, Reason::kTokenDown, Recovery::kLogin},
      {CKR_GENERAL_ERROR, Reason::kTokenDown, Recovery::kRoom},
      {CKR_DEVICE_ERROR, Reason::kTokenDown, Recovery::kModule},
      {CKR_DEVICE_REMOVED, Reason::kTokenDown, Recovery::kModule},
      {CKR_TOKEN_NOT_PRESENT, Reason::kTokenDown, Recovery::kModule},
      {CKR_CRYPTOKI_NOT_INITIALIZED, Reason::kTokenDown, Recovery::kModule},
      {CKR_PIN_INCORRECT, Reason::kPinRejected, Recovery::kPin},
      {CKR_PIN_LOCKED, Reason::kPinRejected, Recovery::kPin},
  };
  for (const Row& row : rows) {
    const Error error = MakeTokenError(row.value, "C_Sign");
    EXPECT_EQ(error.reason, row.reason) << error.message;
    EXPECT_EQ(RecoveryFor(error), row.recovery) << error.message;
    EXPECT_EQ(error.token_code, row.value);
  }
  EXPECT_EQ(MakeTokenError(CKR_DEVICE_ERROR, "C_Sign").message, "C_Sign: CKR_DEVICE_ERROR");
  EXPECT_EQ(RecoveryFor(MakeError(Reason::kKeyMissing, "no code")), Recovery::kNone);
}

TEST(PublicPart, TakesAnEd25519PointInEverySpelling) {
  const Bytes raw(32, 0x42);
  const auto plain = Ed25519Spki(raw);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->size(), 44u);
  for (const Bytes& prefix : {Bytes{0x04, 0x20}, Bytes{0x03, 0x21, 0x00}}) {
    Bytes wrapped = prefix;
    wrapped.insert(wrapped.end(), raw.begin(), raw.end());
    EXPECT_EQ(*Ed25519Spki(wrapped), *plain);
  }
  for (const std::size_t size : {0u, 31u, 33u, 34u, 35u, 57u}) EXPECT_FALSE(Ed25519Spki(Bytes(size, 0x42))) << size;
}

TEST(PublicPart, RefusesAnRsaKeyThatIsNone) {
  EXPECT_FALSE(RsaSpki({}, {}));
  EXPECT_FALSE(RsaSpki(Bytes(256, 0), Bytes{1, 0, 1}));
  EXPECT_TRUE(RsaSpki(Bytes(256, 0xff), Bytes{1, 0, 1}));
}

// In this process, where sanitizers see all of it.
class InProcess : public testing::Test {
 protected:
  void SetUp() override {
    for (const std::string& variable : environment_.Variables()) {
      const std::size_t equals = variable.find('=');
      ASSERT_EQ(::setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1), 0);
    }
    ASSERT_NE(::dlopen(environment_.softhsm_module().c_str(), RTLD_NOW | RTLD_NODELETE), nullptr);
    auto module = Module::Load(environment_.softhsm_module());
    ASSERT_TRUE(module) << module.error().message;
    module_ = std::move(*module);
    ASSERT_TRUE(module_->Initialize());
    const auto uri = TokenUri::Parse(environment_.uri());
    ASSERT_TRUE(uri);
    const auto token = module_->FindToken(*uri);
    ASSERT_TRUE(token) << token.error().message;
    slot_ = token->slot;
  }
  Result<Session> OpenLoggedIn() {
    auto session = Session::Open(*module_, slot_, Access::kWrite);
    if (!session) return session;
    const Status done = session->Login(CKU_USER, test::kPin);
    if (!done) return done.error();
    return session;
  }
  test::HsmEnvironment environment_;
  std::unique_ptr<Module> module_;
  CK_SLOT_ID slot_ = 0;
};

TEST_F(InProcess, MakesFindsAndSigns) {
  auto session = OpenLoggedIn();
  ASSERT_TRUE(session);
  const Bytes digest = test::Sha256("x");
  for (const KeyType type : {KeyType::kRsa, KeyType::kEd25519}) {
    const Bytes id = {0x10, static_cast<std::uint8_t>(type)};
    const auto made = session->Generate({type, 2048}, {id, "key"});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_TRUE(made->sensitive);
    EXPECT_FALSE(made->extractable);
    const auto found = session->Find(id);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->spki, made->spki);
    const auto signature = session->SignDigest(*found, digest);
    ASSERT_TRUE(signature);
    EXPECT_TRUE(test::Verifies(made->spki, digest, *signature));
  }
  EXPECT_TRUE(session->usable());
}

// CKA_VALUE and CKA_PRIVATE_EXPONENT, asked for as any program could.
// A module that knows one spelling of Ed25519's curve, in front of SoftHSM, which knows the first.
class OneSpelling {
 public:
  OneSpelling(CK_FUNCTION_LIST* functions, ByteView known) : functions_(functions), real_(*functions) {
    self = this;
    known_ = known;
    functions->C_GenerateKeyPair = [](CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_ATTRIBUTE* public_template,
                                      CK_ULONG public_count, CK_ATTRIBUTE* private_template, CK_ULONG private_count,
                                      CK_OBJECT_HANDLE* public_key, CK_OBJECT_HANDLE* private_key) {
      if (!self->Takes(public_template, public_count)) return CK_RV{CKR_CURVE_NOT_SUPPORTED};
      return self->real_.C_GenerateKeyPair(session, mechanism, public_template, public_count, private_template,
                                           private_count, public_key, private_key);
    };
    functions->C_CreateObject = [](CK_SESSION_HANDLE session, CK_ATTRIBUTE* object, CK_ULONG count,
                                   CK_OBJECT_HANDLE* made) {
      if (!self->Takes(object, count)) return CK_RV{CKR_ATTRIBUTE_VALUE_INVALID};
      return self->real_.C_CreateObject(session, object, count, made);
    };
  }
  ~OneSpelling() { *functions_ = real_; }
  OneSpelling(const OneSpelling&) = delete;
  OneSpelling& operator=(const OneSpelling&) = delete;

  std::vector<Bytes> asked;

 private:
  bool Takes(CK_ATTRIBUTE* attributes, CK_ULONG count) {
    for (CK_ATTRIBUTE& attribute : std::span(attributes, count)) {
      if (attribute.type != CKA_EC_PARAMS) continue;
      const auto* octets = static_cast<const std::uint8_t*>(attribute.pValue);
      asked.emplace_back(octets, octets + attribute.ulValueLen);
      if (!std::equal(known_.begin(), known_.end(), asked.back().begin(), asked.back().end())) return false;
      attribute.pValue = const_cast<std::uint8_t*>(kCurveName.data());
      attribute.ulValueLen = kCurveName.size();
    }
    return true;
  }
  static inline OneSpelling* self = nullptr;
  CK_FUNCTION_LIST* functions_;
  const CK_FUNCTION_LIST real_;
  ByteView known_;
};

TEST_F(InProcess, AsksForEd25519InEverySpelling) {
  auto session = OpenLoggedIn();
  ASSERT_TRUE(session);
  // OBJECT IDENTIFIER 1.3.6.1.4.1.11591.15.1.
  const Bytes older = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01};
  const std::vector<Bytes> spellings = {
      Bytes(kCurveName.begin(), kCurveName.end()), {0x06, 0x03, 0x2b, 0x65, 0x70}, older};
  for (std::uint8_t i = 0; i < spellings.size(); ++i) {
    OneSpelling token(module_->operator->(), spellings[i]);
    const std::vector<Bytes> expected(spellings.begin(), spellings.begin() + i + 1);
    const Bytes id = {0x20, i}, copy_id = {0x21, i};
    const auto made = session->Generate({KeyType::kEd25519, 0}, {id, "key"});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(token.asked, expected);
    token.asked.clear();
    EXPECT_TRUE(session->CreatePublicKey(made->spki, {copy_id, "imported"}));
    EXPECT_EQ(token.asked, expected);
  }
}

TEST_F(InProcess, NeverShowsAPrivateKey) {
  auto session = OpenLoggedIn();
  ASSERT_TRUE(session);
  const Bytes id = {1};
  const auto key = session->Generate({KeyType::kRsa, 2048}, {id, "key"});
  ASSERT_TRUE(key);
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
  ASSERT_TRUE(IsOk((*module_)->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &handle)));
  for (const CK_ATTRIBUTE_TYPE type : {CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2}) {
    Bytes room(4096);
    CK_ATTRIBUTE attribute{type, room.data(), room.size()};
    EXPECT_FALSE(IsOk((*module_)->C_GetAttributeValue(handle, key->private_key, &attribute, 1)));
    EXPECT_EQ(room, Bytes(4096));
  }
  EXPECT_TRUE(IsOk((*module_)->C_CloseSession(handle)));
}

TEST_F(InProcess, SessionIsNotUsableAfterAFailure) {
  auto session = OpenLoggedIn();
  ASSERT_TRUE(session);
  KeyPair none;
  none.private_key = 4711;
  EXPECT_FALSE(session->SignDigest(none, Bytes(32)));
  EXPECT_FALSE(session->usable());
}

TEST_F(InProcess, SessionOutlivesFinalizationWithoutTouchingTheModule) {
  auto session = OpenLoggedIn();
  ASSERT_TRUE(session);
  module_->Finalize();
  ASSERT_TRUE(module_->Initialize());
}

TEST_F(InProcess, WrongPinIsToldApart) {
  auto session = Session::Open(*module_, slot_, Access::kRead);
  ASSERT_TRUE(session);
  const Status done = session->Login(CKU_USER, "000000");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().reason, Reason::kPinRejected);
  EXPECT_EQ(done.error().message.find("000000"), std::string::npos);
}

// A label is 32 octets of whatever the token's maker, or whoever named it, put there.
TEST_F(InProcess, TextsOfATokenAreUtf8WithoutControlCharacters) {
  environment_.InitToken("M\xfcnchen \x1b[2J\n\xc2\x9b\x7f \xc3\xa4 \xe2\x82");  // Latin-1, C0, C1, DEL, "ä", cut off
  module_->Finalize();
  ASSERT_TRUE(module_->Initialize());
  const auto uri =
      TokenUri::Parse("pkcs11:token=M%FCnchen%20%1B%5B2J%0A%C2%9B%7F%20%C3%A4%20%E2%82?pin-source=file:/pin");
  ASSERT_TRUE(uri) << uri.error().message;
  const auto token = module_->FindToken(*uri);
  ASSERT_TRUE(token) << token.error().message;
  const std::string bad = "\xef\xbf\xbd";  // U+FFFD
  EXPECT_EQ(token->label, "M" + bad + "nchen " + bad + "[2J" + bad + bad + bad + " \xc3\xa4 " + bad + bad);
}

TEST(ModuleFile, ThatIsNoneIsAnError) {
  for (const char* path : {"/nonexistent.so", "/etc/passwd"}) {
    const auto module = Module::Load(path);
    ASSERT_FALSE(module);
    EXPECT_EQ(module.error().reason, Reason::kTokenDown);
  }
}

}  // namespace
}  // namespace hallmark::pkcs11
