#include <dlfcn.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "hsm/pkcs11/module.h"
#include "hsm/pkcs11/session.h"
#include "tests/hsm/support/environment.h"
#include "tests/hsm/support/verify.h"

// The rules of the faulty module: what is no rule ends the process, and one counts as obeyed once it has changed
// something.
namespace hallmark::test {
namespace {

void UseModuleOf(const HsmEnvironment& environment) {
  for (const std::string& variable : environment.Variables()) {
    const std::size_t equals = variable.find('=');
    ASSERT_EQ(::setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1), 0);
  }
  // What stays allocated is found by the leak checker only while the library is there.
  ASSERT_NE(::dlopen(environment.faulty_module().c_str(), RTLD_NOW | RTLD_NODELETE), nullptr);
}

// The first eight octets of the file whose name begins so; 0 where there is none.
std::uint64_t NumberIn(const HsmEnvironment& environment, const std::string& beginning) {
  std::uint64_t number = 0;
  for (const auto& entry : std::filesystem::directory_iterator(environment.directory())) {
    if (entry.path().filename().string().rfind(beginning, 0) != 0) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    file.read(reinterpret_cast<char*>(&number), sizeof number);
  }
  return number;
}

// All tests have one token: where the module counts sessions it looks up once. Each makes a key of its own.
class FaultyModule : public testing::Test {
 protected:
  void SetUp() override {
    static std::uint8_t id = 0;
    Rules("");
    UseModuleOf(environment_);
    auto module = pkcs11::Module::Load(environment_.faulty_module());
    ASSERT_TRUE(module) << module.error().message;
    module_ = std::move(*module);
    ASSERT_TRUE(module_->Initialize());
    const auto uri = pkcs11::TokenUri::Parse(environment_.uri());
    ASSERT_TRUE(uri);
    const auto token = module_->FindToken(*uri);
    ASSERT_TRUE(token) << token.error().message;
    slot_ = token->slot;
    auto session = pkcs11::Session::Open(*module_, slot_, pkcs11::Access::kWrite);
    ASSERT_TRUE(session && session->Login(CKU_USER, kPin));
    const Bytes cka_id = {++id};
    const auto key = session->Generate({pkcs11::KeyType::kEd25519, 0}, {cka_id, "key"});
    ASSERT_TRUE(key) << key.error().message;
    key_ = *key;
    owner_.emplace(std::move(*session));
    handle_ = Open();
  }
  CK_SESSION_HANDLE Open() {
    CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
    EXPECT_EQ((*module_)->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &handle), CKR_OK);
    return handle;
  }
  // With rules that are new: what is counted begins anew.
  void Rules(const std::string& rules) {
    for (const auto& entry : std::filesystem::directory_iterator(environment_.directory())) {
      if (entry.path().filename().string().rfind("faults.since-", 0) == 0) std::filesystem::remove(entry.path());
    }
    environment_.WriteFaults(rules);
  }
  std::uint64_t Obeyed() const { return NumberIn(environment_, "faults.since-"); }
  std::uint64_t SessionsOpen() const { return NumberIn(environment_, "faults.sessions-"); }

  CK_RV SignInit() {
    CK_MECHANISM mechanism{CKM_EDDSA, nullptr, 0};
    return (*module_)->C_SignInit(handle_, &mechanism, key_.private_key);
  }
  // Whether a signature of these words is given, and a right one.
  bool SignsWell(const std::string& words) {
    const Bytes digest = Sha256(words);
    Bytes input = digest, signature(64);
    CK_ULONG size = signature.size();
    if (SignInit() != CKR_OK) return false;
    if ((*module_)->C_Sign(handle_, input.data(), input.size(), signature.data(), &size) != CKR_OK) return false;
    signature.resize(size);
    return Verifies(key_.spki, digest, signature);
  }

  static HsmEnvironment& Environment() {
    static HsmEnvironment environment;
    return environment;
  }
  HsmEnvironment& environment_ = Environment();
  std::unique_ptr<pkcs11::Module> module_;
  CK_SLOT_ID slot_ = 0;
  std::optional<pkcs11::Session> owner_;
  pkcs11::KeyPair key_;
  CK_SESSION_HANDLE handle_ = CK_INVALID_HANDLE;
};

TEST_F(FaultyModule, CountsARuleOnceItHasChangedSomething) {
  Rules("C_Sign * corrupt\n");
  EXPECT_FALSE(SignsWell("a"));
  EXPECT_EQ(Obeyed(), 1u);
  Rules("C_Sign * truncate 1\n");
  EXPECT_FALSE(SignsWell("a"));
  EXPECT_EQ(Obeyed(), 1u);
  Rules("C_SignInit * return CKR_DEVICE_ERROR\n");
  EXPECT_EQ(SignInit(), CKR_DEVICE_ERROR);
  EXPECT_EQ(Obeyed(), 1u);
  CK_TOKEN_INFO info{};
  Rules("C_GetTokenInfo * serial 7\n");
  EXPECT_EQ((*module_)->C_GetTokenInfo(slot_, &info), CKR_OK);
  EXPECT_EQ(Obeyed(), 1u);
  EXPECT_EQ(std::memcmp(info.serialNumber, "0000000000000007", 16), 0);
}

TEST_F(FaultyModule, DoesNotCountWhatChangesNothing) {
  Rules("C_SignInit * other-key\n");
  EXPECT_TRUE(SignsWell("a")) << "there is no other key";
  EXPECT_EQ(Obeyed(), 0u);
  Rules("C_Sign * previous\n");
  EXPECT_TRUE(SignsWell("a")) << "Ed25519 gives the same words the same signature";
  EXPECT_EQ(Obeyed(), 0u);
  EXPECT_FALSE(SignsWell("b"));
  EXPECT_EQ(Obeyed(), 1u);
  Rules("C_Sign * corrupt\n");
  Bytes signature(64);
  CK_ULONG size = signature.size();
  Bytes input = Sha256("c");
  EXPECT_EQ((*module_)->C_Sign(handle_, input.data(), input.size(), signature.data(), &size),
            CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(Obeyed(), 0u) << "there was no signature";
  CK_TOKEN_INFO info{};
  Rules("C_GetTokenInfo * flags " + std::to_string(CKF_TOKEN_INITIALIZED) + "\n");
  EXPECT_EQ((*module_)->C_GetTokenInfo(slot_, &info), CKR_OK);
  EXPECT_EQ(Obeyed(), 0u) << "it is set already";
}

TEST_F(FaultyModule, DropsAndLogsOutWhereThereIsSomething) {
  Rules("C_SignInit @1 logout\n");
  EXPECT_NE(SignInit(), CKR_OK);
  EXPECT_EQ(Obeyed(), 1u);
  Rules("C_SignInit * drop\n");
  EXPECT_NE(SignInit(), CKR_OK);
  EXPECT_EQ(Obeyed(), 1u);
  EXPECT_NE(SignInit(), CKR_OK);
  EXPECT_EQ(Obeyed(), 1u) << "no session is open any more";
}

TEST_F(FaultyModule, KnowsHowManySessionsAreOpen) {
  const std::uint64_t before = SessionsOpen();
  EXPECT_EQ(before, 2u) << "the one that made the key, and this test's";
  const CK_SESSION_HANDLE more = Open();
  EXPECT_EQ(SessionsOpen(), 3u);
  EXPECT_EQ((*module_)->C_CloseSession(more), CKR_OK);
  EXPECT_NE((*module_)->C_CloseSession(more), CKR_OK);
  EXPECT_EQ(SessionsOpen(), 2u);
  Rules("C_CloseSession * return CKR_FUNCTION_FAILED\n");
  EXPECT_EQ((*module_)->C_CloseSession(handle_), CKR_FUNCTION_FAILED);
  EXPECT_EQ(SessionsOpen(), 2u) << "it is still open";
  Rules("");
  EXPECT_EQ((*module_)->C_CloseAllSessions(slot_), CKR_OK);
  EXPECT_EQ(SessionsOpen(), 0u);
}

TEST_F(FaultyModule, FailsWhereKeysAreMadeAndTokensInitialized) {
  Rules("C_DecryptInit * return CKR_DEVICE_ERROR of 7\nC_InitToken * return CKR_DEVICE_ERROR\nC_InitPIN * return 5\n");
  CK_MECHANISM mechanism{7, nullptr, 0};
  EXPECT_EQ((*module_)->C_DecryptInit(handle_, &mechanism, key_.private_key), CKR_DEVICE_ERROR);
  mechanism.mechanism = 8;
  EXPECT_NE((*module_)->C_DecryptInit(handle_, &mechanism, key_.private_key), CKR_DEVICE_ERROR);
  CK_UTF8CHAR pin[] = "1234", label[32] = {};
  EXPECT_EQ((*module_)->C_InitToken(slot_, pin, 4, label), CKR_DEVICE_ERROR);
  EXPECT_EQ((*module_)->C_InitPIN(handle_, pin, 4), CKR_GENERAL_ERROR);
  EXPECT_EQ(Obeyed(), 3u);
}

class NoRule : public testing::TestWithParam<const char*> {};

// What would change nothing is told when it is read, not counted and forgotten.
TEST_P(NoRule, EndsTheProcess) {
  HsmEnvironment environment;
  environment.WriteFaults(std::string(GetParam()) + "\n");
  const Ran run = RunProgram({TokendProgram().string(), "init-token", "--module", environment.faulty_module().string(),
                              "--token-label", "other", "--pin-source", (environment.directory() / "pin").string(),
                              "--so-pin-source", (environment.directory() / "so-pin").string()},
                             environment.Variables());
  EXPECT_NE(run.exit_code, 0);
  EXPECT_NE(run.output.find(std::string("this rule is not understood: ") + GetParam()), std::string::npos)
      << run.output;
}
INSTANTIATE_TEST_SUITE_P(All, NoRule,
                         testing::Values("C_Login * corrupt", "C_Sign * serial 7", "C_Sign * flags 1",
                                         "C_Login * truncate 1", "C_SignInit * previous", "C_Sign * other-key",
                                         "C_Login * length 1", "C_Initialize * drop", "C_GetTokenInfo * logout",
                                         "C_Sign * absent", "C_Sign * slot 7", "token * hang", "token * return 5",
                                         "token * leak 1", "C_GetFunctionList * leak 4", "C_GetFunctionList * corrupt",
                                         "C_Sign * delay 0", "C_Sign * truncate 0", "token * slot 0",
                                         "C_Login * return 5 of CKM_EDDSA", "C_SetPIN * return 5", "C_Sign * return"),
                         [](const auto& row) { return "Row" + std::to_string(row.index); });

// It is ended once it hangs, or after a minute.
TEST(FaultyModuleAtLoad, Hangs) {
  constexpr char kUntilItHangs[] =
      R"(log=$1; shift; "$@" & for _ in $(seq 600); do grep -qsx hang "$log" && break; sleep 0.1; done; )"
      "kill -KILL $!; wait $!";
  HsmEnvironment environment;
  environment.WriteFaults("C_GetFunctionList * hang\n");
  const std::string folder = environment.directory().string();
  const Ran run = RunProgram({"sh", "-c", kUntilItHangs, "sh", folder + "/faults.log", TokendProgram().string(),
                              "init-token", "--module", environment.faulty_module().string(), "--token-label", "other",
                              "--pin-source", folder + "/pin", "--so-pin-source", folder + "/so-pin"},
                             environment.Variables());
  EXPECT_EQ(run.exit_code, 128 + SIGKILL) << run.output;
  EXPECT_EQ(environment.CountCalls("hang"), 1u);
  EXPECT_EQ(NumberIn(environment, "faults.since-"), 1u);
}

}  // namespace
}  // namespace hallmark::test
