#include <dlfcn.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>

#include "hsm/pkcs11/module.h"
#include "hsm/pkcs11/session.h"
#include "tests/hsm/support/environment.h"
#include "tests/hsm/support/tokend_client.h"
#include "tests/hsm/support/verify.h"

// The tokens that faulty_pkcs11 simulates. How long things take is bounded from below only: any machine is slow at
// times.
namespace hallmark::test {
namespace {

using link::InputKind;
using link::KeyType;
using link::Outcome;
using link::TokenState;
using std::chrono::milliseconds;

const Bytes kId = {0x01};

class SimulatedToken : public testing::Test {
 protected:
  void Launch(const std::string& profile, unsigned sessions, const std::string& cache = "") {
    TokendClient::Options options;
    options.sessions = sessions;
    options.faulty = true;
    options.variables = {"FAULTY_PKCS11_SIMULATE=" + profile};
    if (!cache.empty()) options.variables.push_back("FAULTY_PKCS11_CACHE=" + cache);
    tokend_.emplace(environment_, options);
    tokend_->Await<link::Hello>();
  }
  // A ready token with one key, defined as 1. No C_Sign was called yet.
  void Start(const std::string& profile, unsigned sessions = 2, KeyType type = KeyType::kEd25519) {
    Launch(profile, sessions);
    tokend_->AwaitState(TokenState::kReady);
    key_ = tokend_->Generate(type, type == KeyType::kRsa ? 2048 : 0, kId);
    ASSERT_EQ(key_.outcome, Outcome::kOk) << key_.message;
    tokend_->Define(1, key_, kId);
  }
  // With the key that an earlier tokend made.
  void StartAgain(const std::string& cache) {
    Launch("instant", 1, cache);
    tokend_->AwaitState(TokenState::kReady);
    if (key_.spki.empty()) key_ = tokend_->Generate(KeyType::kEd25519, 0, kId);
    tokend_->Define(1, key_, kId);
  }
  Bytes Sign(const std::string& message) {
    const Bytes digest = Sha256(message);
    const auto outcome = tokend_->Sign(1, digest);
    EXPECT_EQ(outcome.outcome, Outcome::kOk) << std::hex << outcome.token_code;
    EXPECT_TRUE(Verifies(key_.spki, digest, outcome.signature));
    return outcome.signature;
  }
  // The same digest so many times, in one batch.
  milliseconds TimeOf(unsigned signatures) {
    link::SignBatch batch{60000, {}};
    const Bytes digest = Sha256("again and again");
    for (std::uint64_t i = 0; i < signatures; ++i) batch.items.push_back({i, 1, InputKind::kDigest, digest});
    const auto begun = std::chrono::steady_clock::now();
    for (const auto& [id, outcome] : tokend_->Sign(batch)) {
      EXPECT_EQ(outcome.outcome, Outcome::kOk) << id << std::hex << ' ' << outcome.token_code;
    }
    return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun);
  }
  // How many signatures the real module was asked for.
  std::size_t CountReal() const { return environment_.CountCalls("signed"); }

  HsmEnvironment environment_;
  std::optional<TokendClient> tokend_;
  link::KeyReply key_;
};

class SimulatedKey : public SimulatedToken, public testing::WithParamInterface<KeyType> {};

TEST_P(SimulatedKey, SignsEachInputOnceAndThenKnowsIt) {
  Start("instant", 2, GetParam());
  const Bytes signature = Sign("a message");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Sign("a message"), signature);
  EXPECT_EQ(CountReal(), 1u);
  EXPECT_NE(Sign("another message"), signature);
  EXPECT_EQ(CountReal(), 2u);
}
INSTANTIATE_TEST_SUITE_P(All, SimulatedKey, testing::Values(KeyType::kRsa, KeyType::kEd25519),
                         [](const auto& row) { return row.param == KeyType::kRsa ? "Rsa" : "Ed25519"; });

TEST_F(SimulatedToken, TellsKeysAndMechanismsApart) {
  Start("instant", 2, KeyType::kRsa);
  const auto other = tokend_->Generate(KeyType::kRsa, 2048, {2});
  tokend_->Define(2, other, {2});
  const std::string message = "the same for both";
  Sign(message);
  const auto by_other = tokend_->Sign(2, Sha256(message));
  ASSERT_EQ(by_other.outcome, Outcome::kOk);
  EXPECT_TRUE(Verifies(other.spki, Sha256(message), by_other.signature));
  // The token hashes: octets that are a digest to one mechanism are a message to the other.
  const auto data = AsBytes(message);
  for (const Bytes& input : {Bytes(data.begin(), data.end()), Sha256(message)}) {
    const auto hashed = tokend_->Sign({30000, {{9, 1, InputKind::kData, input}}}).at(9);
    ASSERT_EQ(hashed.outcome, Outcome::kOk);
    EXPECT_TRUE(
        Verifies(key_.spki, Sha256({reinterpret_cast<const char*>(input.data()), input.size()}), hashed.signature));
  }
  EXPECT_EQ(CountReal(), 4u);
}

struct Limit {
  const char* profile;
  unsigned sessions;  // that tokend signs with: two fewer, which it keeps for the login and for key calls
};
class SimulatedLimit : public SimulatedToken, public testing::WithParamInterface<Limit> {};

TEST_P(SimulatedLimit, IsWhatTokendReports) {
  Launch(GetParam().profile, 100);
  EXPECT_EQ(tokend_->AwaitState(TokenState::kReady).sessions, GetParam().sessions);
}
const Limit kLimits[] = {{"network", 28},
                         {"pcie", 14},
                         {"smartcard", 1},
                         {"smartcard,sessions=2", 1},
                         {"smartcard,sessions=3", 1},
                         {"instant", 62},
                         {"latency_us=10,sessions=5,rate=10000", 3},
                         {"network,sessions=9", 7}};
INSTANTIATE_TEST_SUITE_P(All, SimulatedLimit, testing::ValuesIn(kLimits),
                         [](const auto& row) { return "Row" + std::to_string(row.index); });

TEST_F(SimulatedToken, SignsOnNoMoreSessionsThanItHas) {
  Start("latency_us=1000,sessions=5", 100);
  EXPECT_EQ(tokend_->status()->sessions, 3u);
  EXPECT_GE(TimeOf(60), milliseconds(15));  // 20 ms on each of three sessions
}

// A smartcard: the login, signing and key management share the one session that there is.
TEST_F(SimulatedToken, WithOneSessionDoesEverything) {
  Start("smartcard,latency_us=1000", 4);
  EXPECT_EQ(tokend_->status()->sessions, 1u);
  const Bytes first = Sign("first");
  const auto made = tokend_->Generate(KeyType::kEd25519, 0, {0x77});
  EXPECT_EQ(made.outcome, Outcome::kOk) << made.message;
  EXPECT_GE(TimeOf(20), milliseconds(15));
  EXPECT_EQ(Sign("first"), first);
  EXPECT_EQ(environment_.CountCalls("C_Login"), 1u);
}

// Its only session is also its login: what costs the one costs the other.
TEST_F(SimulatedToken, WithOneSessionRecoversByLoggingInAgain) {
  Start("smartcard,latency_us=1000", 4);
  const Bytes first = Sign("first");
  environment_.WriteFaults("C_Sign 2 return 0xb3");  // CKR_SESSION_HANDLE_INVALID
  EXPECT_EQ(Sign("first"), first);
  EXPECT_EQ(environment_.CountCalls("C_Login"), 2u);
}

TEST_F(SimulatedToken, HasLatency) {
  Start("latency_us=20000,sessions=3");
  EXPECT_GE(TimeOf(5), milliseconds(95));
}

TEST_F(SimulatedToken, HasARateThatItsSessionsShare) {
  Start("rate=100,sessions=6", 4);
  EXPECT_GE(TimeOf(20), milliseconds(150));
}

TEST_F(SimulatedToken, ObeysRulesToo) {
  environment_.WriteFaults("C_Sign 2 corrupt\nC_SignInit 4 return 0x101");
  Start("instant", 1);
  const Bytes signature = Sign("x");
  const auto corrupt = tokend_->Sign(1, Sha256("x"));
  ASSERT_EQ(corrupt.outcome, Outcome::kOk);
  EXPECT_NE(corrupt.signature, signature);
  EXPECT_EQ(Sign("x"), signature) << "only the answer was corrupted";
  EXPECT_EQ(Sign("x"), signature) << "after another login";
  EXPECT_EQ(environment_.CountCalls("C_Login"), 2u);
}

TEST_F(SimulatedToken, KeepsItsSignaturesInAFile) {
  const std::string cache = (environment_.directory() / "signatures").string();
  StartAgain(cache);
  const Bytes first = Sign("first");
  StartAgain(cache);
  EXPECT_EQ(Sign("first"), first);
  EXPECT_EQ(CountReal(), 1u);
  const auto whole = std::filesystem::file_size(cache);
  Sign("torn");
  // As if the process had died while it wrote.
  tokend_.reset();
  std::filesystem::resize_file(cache, std::filesystem::file_size(cache) - 1);
  StartAgain(cache);
  EXPECT_EQ(std::filesystem::file_size(cache), whole);
  EXPECT_EQ(Sign("first"), first);
  EXPECT_EQ(CountReal(), 2u);
  const Bytes torn = Sign("torn");
  EXPECT_EQ(CountReal(), 3u);
  StartAgain(cache);
  EXPECT_EQ(Sign("first"), first);
  EXPECT_EQ(Sign("torn"), torn);
  EXPECT_EQ(CountReal(), 3u);
}

TEST_F(SimulatedToken, LeavesAFileThatIsNotItsOwnAlone) {
  const std::string file = (environment_.directory() / "notes").string();
  std::ofstream(file) << "something else";
  Launch("instant", 1, file);
  tokend_->AwaitState(TokenState::kDown);
  std::ifstream kept(file);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(kept), {}), "something else");
}

class WrongProfile : public SimulatedToken, public testing::WithParamInterface<const char*> {};

// A benchmark must not run with another token than it was told.
TEST_P(WrongProfile, IsNoToken) {
  Launch(GetParam(), 1);
  tokend_->AwaitState(TokenState::kDown);
}
INSTANTIATE_TEST_SUITE_P(All, WrongProfile,
                         testing::Values("", "fast", "sessions=0", "sessions=", "rate=-1", "latency_us=3ms",
                                         "sessions=1,", "pcie,rate"),
                         [](const auto& row) { return "Row" + std::to_string(row.index); });

// The module's functions as PKCS#11 describes them, which tokend does not use in every way.
class SimulatedCalls : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::string> variables = environment_.Variables();
    variables.push_back("FAULTY_PKCS11_SIMULATE=sessions=3");
    for (const std::string& variable : variables) {
      const std::size_t equals = variable.find('=');
      ASSERT_EQ(::setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1), 0);
    }
    // What stays allocated is found by the leak checker only while the library is there.
    ASSERT_NE(::dlopen(environment_.faulty_module().c_str(), RTLD_NOW | RTLD_NODELETE), nullptr);
    auto module = pkcs11::Module::Load(environment_.faulty_module());
    ASSERT_TRUE(module) << module.error().message;
    module_ = std::move(*module);
    ASSERT_TRUE(module_->Initialize());
    const auto uri = pkcs11::TokenUri::Parse(environment_.uri());
    ASSERT_TRUE(uri);
    const auto token = module_->FindToken(*uri);
    ASSERT_TRUE(token) << token.error().message;
    EXPECT_EQ(token->max_sessions, 3u);
    slot_ = token->slot;
    auto session = pkcs11::Session::Open(*module_, slot_, pkcs11::Access::kWrite);
    ASSERT_TRUE(session && session->Login(CKU_USER, kPin));
    const auto key = session->Generate({pkcs11::KeyType::kEd25519, 0}, {kId, "key"});
    ASSERT_TRUE(key) << key.error().message;
    key_ = *key;
    owner_.emplace(std::move(*session));
    ASSERT_EQ(Open(handle_), CKR_OK);
  }
  CK_RV Open(CK_SESSION_HANDLE& handle) {
    return (*module_)->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &handle);
  }
  CK_RV SignInit() {
    CK_MECHANISM mechanism{CKM_EDDSA, nullptr, 0};
    return (*module_)->C_SignInit(handle_, &mechanism, key_.private_key);
  }
  CK_RV Sign(CK_BYTE* signature, CK_ULONG& size) {
    return (*module_)->C_Sign(handle_, digest_.data(), digest_.size(), signature, &size);
  }
  HsmEnvironment environment_;
  std::unique_ptr<pkcs11::Module> module_;
  CK_SLOT_ID slot_ = 0;
  std::optional<pkcs11::Session> owner_;
  pkcs11::KeyPair key_;
  CK_SESSION_HANDLE handle_ = CK_INVALID_HANDLE;
  Bytes digest_ = Sha256("x");
};

TEST_F(SimulatedCalls, AskForTheLengthAndForRoom) {
  Bytes signature(100);
  CK_ULONG size = signature.size();
  EXPECT_EQ(Sign(signature.data(), size), CKR_OPERATION_NOT_INITIALIZED);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(SignInit(), CKR_OK);
    EXPECT_EQ(SignInit(), CKR_OPERATION_ACTIVE);
    size = 0;
    EXPECT_EQ(Sign(nullptr, size), CKR_OK);
    EXPECT_EQ(size, 64u);
    size = 63;
    EXPECT_EQ(Sign(signature.data(), size), CKR_BUFFER_TOO_SMALL);
    EXPECT_EQ(size, 64u);
    EXPECT_EQ(Sign(signature.data(), size), CKR_OK);
    EXPECT_TRUE(Verifies(key_.spki, digest_, Bytes(signature.begin(), signature.begin() + 64)));
    EXPECT_EQ(Sign(signature.data(), size), CKR_OPERATION_NOT_INITIALIZED);
  }
  EXPECT_EQ(environment_.CountCalls("signed"), 1u);
}

TEST_F(SimulatedCalls, AreRefusedWithoutASessionAKeyOrALogin) {
  CK_SESSION_HANDLE third = CK_INVALID_HANDLE, fourth = CK_INVALID_HANDLE;
  EXPECT_EQ(Open(third), CKR_OK);
  EXPECT_EQ(Open(fourth), CKR_SESSION_COUNT);
  EXPECT_EQ((*module_)->C_CloseSession(third), CKR_OK);
  EXPECT_EQ(Open(fourth), CKR_OK);
  CK_MECHANISM mechanism{CKM_EDDSA, nullptr, 0};
  EXPECT_EQ((*module_)->C_SignInit(third, &mechanism, key_.private_key), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ((*module_)->C_SignInit(fourth, &mechanism, 4711), CKR_KEY_HANDLE_INVALID);
  EXPECT_EQ(SignInit(), CKR_OK);
  Bytes signature(64);
  CK_ULONG size = signature.size();
  EXPECT_EQ(Sign(signature.data(), size), CKR_OK);
  EXPECT_EQ((*module_)->C_Logout(handle_), CKR_OK);
  EXPECT_NE(SignInit(), CKR_OK) << "what is known is for those who are logged in";
}

TEST_F(SimulatedCalls, ThatTheRealModuleRefusesEndTheOperation) {
  CK_MECHANISM mechanism{CKM_RSA_PKCS, nullptr, 0};
  EXPECT_EQ((*module_)->C_SignInit(handle_, &mechanism, key_.private_key), CKR_OK);
  Bytes signature(64);
  CK_ULONG size = signature.size();
  EXPECT_NE(Sign(signature.data(), size), CKR_OK);
  EXPECT_EQ(Sign(signature.data(), size), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(SignInit(), CKR_OK);
  EXPECT_EQ(Sign(signature.data(), size), CKR_OK);
}

}  // namespace
}  // namespace hallmark::test
