#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "tests/hsm/support/environment.h"
#include "tests/hsm/support/tokend_client.h"
#include "tests/hsm/support/verify.h"

// What tokend does when the token, its module or the PIN is in trouble: faults are injected by faulty_pkcs11.
namespace hallmark::test {
namespace {

using link::InputKind;
using link::KeyType;
using link::Outcome;
using link::TokenState;

const Bytes kId = {0x01};

class Recovery : public testing::Test {
 protected:
  // A ready token with one Ed25519 key, defined as 1. No C_Sign was called yet.
  TokendClient& Start(unsigned sessions = 1, std::vector<std::string> more = {}) {
    TokendClient::Options options;
    options.sessions = sessions;
    options.faulty = true;
    options.more = std::move(more);
    tokend_.emplace(environment_, options);
    tokend_->Await<link::Hello>();
    tokend_->AwaitState(TokenState::kReady);
    key_ = tokend_->Generate(KeyType::kEd25519, 0, kId);
    EXPECT_EQ(key_.outcome, Outcome::kOk) << key_.message;
    tokend_->Define(1, key_, kId);
    return *tokend_;
  }
  void ExpectSigns() {
    const Bytes digest = Sha256("after the trouble");
    const auto outcome = tokend_->Sign(1, digest);
    ASSERT_EQ(outcome.outcome, Outcome::kOk) << std::hex << outcome.token_code;
    EXPECT_TRUE(Verifies(key_.spki, digest, outcome.signature));
  }
  HsmEnvironment environment_;
  std::optional<TokendClient> tokend_;
  link::KeyReply key_;
};

struct Fault {
  const char* name;
  const char* rules;
  std::size_t logins, initializations;  // of the module, from the start
};
class OneFault : public Recovery, public testing::WithParamInterface<Fault> {};

// The caller sees nothing of it, and no more is made anew than has to be.
TEST_P(OneFault, IsMended) {
  Start();
  environment_.WriteFaults(GetParam().rules);
  ExpectSigns();
  ExpectSigns();
  EXPECT_EQ(environment_.CountCalls("C_Login"), GetParam().logins);
  EXPECT_EQ(environment_.CountCalls("C_Initialize"), GetParam().initializations);
}

const Fault kFaults[] = {
    // Level 1: the session.
    {"OperationActive", "C_SignInit 1 return 0x90", 1, 1},
    {"FunctionFailed", "C_Sign 1 return 0x6", 1, 1},
    {"VendorCode", "C_Sign 1 return 0x80000123", 1, 1},
    {"SignatureOfAbsurdLength", "C_Sign 1 length 0x10000000000", 1, 1},
    {"AbsurdlyManyKeys", "C_FindObjects @1 length 0x10000000000", 1, 1},
    {"AttributeOfAbsurdLength", "C_GetAttributeValue @1 length 0x10000000000", 1, 1},
    // Level 2: the login.
    {"NotLoggedIn", "C_SignInit 1 return 0x101", 2, 1},
    {"SessionGone", "C_Sign 1 return 0xb3", 2, 1},
    {"SessionClosed", "C_SignInit 1 return 0xb0", 2, 1},
    {"KeyHandleStale", "C_SignInit 1 return 0x60", 2, 1},
    {"ObjectHandleStale", "C_SignInit 1 return 0x82", 2, 1},
    {"SessionFailsTwice", "C_Sign 1 return 0x6\nC_Sign 2 return 0x6", 2, 1},
    {"NoMoreSessions", "C_Sign 1 return 0x6\nC_OpenSession 4 return 0xb1\nC_OpenSession 5 return 0xb1", 2, 1},
    {"GeneralError", "C_Sign 1 return 0x5", 2, 1},
    // Level 3: the module.
    {"GeneralErrorThatANewLoginDoesNotMend", "C_Sign 1 return 0x5\nC_Sign 2 return 0x5", 3, 2},
    {"DeviceError", "C_Sign 1 return 0x30", 2, 2},
    {"DeviceRemoved", "C_SignInit 1 return 0x32", 2, 2},
    {"NotInitialized", "C_Sign 1 return 0x190", 2, 2},
};
INSTANTIATE_TEST_SUITE_P(Levels, OneFault, testing::ValuesIn(kFaults),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_F(Recovery, EachLoginIsANewGeneration) {
  auto& tokend = Start();
  EXPECT_EQ(tokend.status()->generation, 1u);
  environment_.WriteFaults("C_SignInit 1 return 0x101");
  ExpectSigns();
  EXPECT_EQ(tokend.AwaitState(TokenState::kReady).generation, 2u);
}

TEST_F(Recovery, ManySessionsInTroubleLogInOnce) {
  auto& tokend = Start(4);
  environment_.WriteFaults("C_SignInit 1 return 0x101\nC_SignInit 2 return 0x101");
  link::SignBatch batch{30000, {}};
  for (std::uint64_t i = 0; i < 200; ++i) batch.items.push_back({i, 1, InputKind::kDigest, Sha256(std::to_string(i))});
  for (const auto& [id, outcome] : tokend.Sign(batch)) {
    ASSERT_EQ(outcome.outcome, Outcome::kOk);
    EXPECT_TRUE(Verifies(key_.spki, batch.items[id].input, outcome.signature));
  }
  // Sessions that failed under the login that was given up already do not count; at most one more may have begun anew.
  EXPECT_LE(environment_.CountCalls("C_Login"), 3u);
  EXPECT_EQ(environment_.CountCalls("C_Initialize"), 1u);
}

// Four sessions want it at the same time; it is looked for among the private and the public objects, once.
TEST_F(Recovery, KeyIsLookedForByOneSession) {
  auto& tokend = Start(4);
  environment_.WriteFaults("C_FindObjectsInit @3+ return CKR_DEVICE_ERROR\nC_FindObjectsInit * delay 200");
  link::SignBatch batch{30000, {}};
  for (std::uint64_t i = 0; i < 40; ++i) batch.items.push_back({i, 1, InputKind::kDigest, Sha256(std::to_string(i))});
  for (const auto& [id, outcome] : tokend.Sign(batch)) {
    ASSERT_EQ(outcome.outcome, Outcome::kOk);
    EXPECT_TRUE(Verifies(key_.spki, batch.items[id].input, outcome.signature));
  }
  EXPECT_EQ(environment_.CountCalls("C_Initialize"), 1u) << "no third search";
}

// The first search fails with its session; another session looks again.
TEST_F(Recovery, SearchThatFailedIsNotKept) {
  auto& tokend = Start(4);
  environment_.WriteFaults("C_FindObjectsInit @1 return CKR_FUNCTION_FAILED\nC_FindObjectsInit * delay 200");
  link::SignBatch batch{30000, {}};
  for (std::uint64_t i = 0; i < 40; ++i) batch.items.push_back({i, 1, InputKind::kDigest, Sha256(std::to_string(i))});
  for (const auto& [id, outcome] : tokend.Sign(batch)) EXPECT_EQ(outcome.outcome, Outcome::kOk) << id;
  EXPECT_EQ(environment_.CountCalls("C_Login"), 1u);
}

TEST_F(Recovery, TokenWithFewerSessionsThanItSaysSignsOnThose) {
  auto& tokend = Start(4);
  environment_.WriteFaults("C_OpenSession @3+ return CKR_SESSION_COUNT");
  link::SignBatch batch{30000, {}};
  for (std::uint64_t i = 0; i < 200; ++i) batch.items.push_back({i, 1, InputKind::kDigest, Sha256(std::to_string(i))});
  for (const auto& [id, outcome] : tokend.Sign(batch)) {
    ASSERT_EQ(outcome.outcome, Outcome::kOk);
    EXPECT_TRUE(Verifies(key_.spki, batch.items[id].input, outcome.signature));
  }
  EXPECT_EQ(environment_.CountCalls("C_Login"), 1u);
}

TEST_F(Recovery, LookAtTheTokenThatHangsEndsTheProcess) {
  auto& tokend = Start(1, {"--longest-step", "1"});
  environment_.WriteFaults("C_GetTokenInfo * hang");
  while (tokend.Receive()) {
  }
  EXPECT_EQ(tokend.Wait(), 1);
}

// Many tokens do one thing at a time: a look at them waits for a key that is being made, and that may take minutes.
TEST_F(Recovery, LookThatWaitsForAKeyIsNoHang) {
  auto& tokend = Start(2, {"--longest-step", "2"});
  environment_.WriteFaults("C_GenerateKeyPair @1 alone 5000");
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, {0x42}).outcome, Outcome::kOk);
  ExpectSigns();
}

// Without a login a token shows public objects alone.
TEST_F(Recovery, NothingIsTakenForGoneWithoutALogin) {
  auto& tokend = Start();
  const auto made = tokend.Generate(KeyType::kEd25519, 0, {0x42});
  ASSERT_EQ(made.outcome, Outcome::kOk);
  const auto call = [&](link::Frame frame) {
    environment_.WriteFaults("C_FindObjectsInit @1 logout");
    tokend.Send(std::move(frame));
    const auto outcome = tokend.Await<link::KeyReply>().outcome;
    environment_.WriteFaults("");
    tokend.AwaitState(TokenState::kReady);
    return outcome;
  };
  EXPECT_EQ(call(link::DestroyKey{7, {0x42}, made.spki}), Outcome::kTokenDown);
  EXPECT_EQ(call(link::FindKey{8, {0x42}}), Outcome::kTokenDown);
  tokend.Send(link::FindKey{9, {0x42}});
  EXPECT_EQ(tokend.Await<link::KeyReply>().spki, made.spki);
  tokend.Send(link::DestroyKey{10, {0x42}, made.spki});
  EXPECT_EQ(tokend.Await<link::KeyReply>().outcome, Outcome::kOk);
  tokend.Send(link::FindKey{11, {0x42}});
  EXPECT_EQ(tokend.Await<link::KeyReply>().outcome, Outcome::kKeyMissing);
}

// A key that waits for that look is none that is being made.
TEST_F(Recovery, LookAtTheTokenThatHangsEndsTheProcessThoughAKeyWaits) {
  TokendClient::Options options;
  options.faulty = true;
  options.variables = {"FAULTY_PKCS11_SIMULATE=sessions=1"};
  options.more = {"--longest-step", "2"};
  auto& tokend = tokend_.emplace(environment_, options);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  environment_.WriteFaults("C_GetTokenInfo * hang");
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // the next look is in the module
  tokend.Send(link::GenerateKey{7, KeyType::kEd25519, 0, {0x42}, "late"});
  while (tokend.Receive()) {
  }
  EXPECT_EQ(tokend.Wait(), 1);
}

// The keeper's look fails while a worker is in a call that is going to fail too.
TEST_F(Recovery, TroubleThatTwoNoticeCostsOneLogin) {
  auto& tokend = Start();
  environment_.WriteFaults(
      "C_SignInit @1 delay 3000\nC_Sign @1 return CKR_SESSION_HANDLE_INVALID\n"
      "C_GetSessionInfo @1 return CKR_USER_NOT_LOGGED_IN");
  ExpectSigns();
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, {0x42}).outcome, Outcome::kOk);
  ExpectSigns();
  EXPECT_EQ(environment_.CountCalls("C_Login"), 2u);
}

TEST_F(Recovery, DeviceErrorOfTheTokensSlotIsNoAbsence) {
  auto& tokend = Start();
  environment_.WriteFaults("C_GetTokenInfo * return CKR_DEVICE_ERROR");
  const auto down = tokend.AwaitState(TokenState::kDown);
  EXPECT_EQ(down.token_code, 0x30u);
  EXPECT_NE(down.message.find("CKR_DEVICE_ERROR"), std::string::npos) << down.message;
  environment_.WriteFaults("");
  tokend.AwaitState(TokenState::kReady);
  EXPECT_EQ(environment_.CountCalls("C_Initialize"), 2u);
  ExpectSigns();
}

TEST_F(Recovery, KeyCallThatHangsEndsTheProcess) {
  auto& tokend = Start(1, {"--longest-step", "3"});
  ExpectSigns();
  environment_.WriteFaults("C_FindObjectsInit @1 hang");
  tokend.Send(link::FindKey{7, kId});
  while (tokend.Receive()) {
  }
  EXPECT_EQ(tokend.Wait(), 1);
}

// Level 4.
TEST_F(Recovery, TokenThatStaysInTroubleIsDownAndComesBack) {
  auto& tokend = Start(1, {"--between-restarts", "2"});
  environment_.WriteFaults("C_Sign * return 0x30");
  const auto failed = tokend.Sign(1, Sha256("x"));
  EXPECT_EQ(failed.outcome, Outcome::kTokenDown);
  EXPECT_EQ(environment_.CountCalls("C_Initialize"), 2u) << "once, and not again so soon";
  environment_.WriteFaults("C_Sign * return 0x30\nC_OpenSession * return 0x30");
  const auto down = tokend.AwaitState(TokenState::kDown);
  EXPECT_EQ(down.token_code, 0x30u);
  environment_.WriteFaults("");
  tokend.AwaitState(TokenState::kReady);
  ExpectSigns();
}

TEST_F(Recovery, WhileTheTokenIsDownRequestsFailAtOnce) {
  auto& tokend = Start();
  environment_.WriteFaults("C_Sign * return 0x30\nC_OpenSession * return 0x30");
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kTokenDown);
  tokend.AwaitState(TokenState::kDown);
  // With an hour to go, they would not be answered within the test's patience if they waited.
  EXPECT_EQ(tokend.Sign(1, Sha256("y"), 3600'000).outcome, Outcome::kTokenDown);
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, {9}).outcome, Outcome::kTokenDown);
  EXPECT_LE(environment_.CountCalls("C_Initialize"), 2u);
}

TEST_F(Recovery, KeyThatIsMissingCostsNobodyElse) {
  auto& tokend = Start();
  ExpectSigns();
  tokend.Define(2, key_, {0x77});
  EXPECT_EQ(tokend.Sign(2, Sha256("x")).outcome, Outcome::kKeyMissing);
  ExpectSigns();
}

TEST_F(Recovery, WrongSignatureIsPassedOnForTheOtherEndToRefuse) {
  auto& tokend = Start();
  environment_.WriteFaults("C_Sign 1 corrupt");
  const Bytes digest = Sha256("x");
  const auto outcome = tokend.Sign(1, digest);
  ASSERT_EQ(outcome.outcome, Outcome::kOk);
  EXPECT_FALSE(Verifies(key_.spki, digest, outcome.signature));
  ExpectSigns();
}

TEST_F(Recovery, RefusalOfOneKeyCostsNobodyElse) {
  auto& tokend = Start();
  environment_.WriteFaults("C_SignInit 1 return 0x68");
  const auto outcome = tokend.Sign(1, Sha256("x"));
  EXPECT_EQ(outcome.outcome, Outcome::kTokenRefused);
  EXPECT_EQ(outcome.token_code, 0x68u);
  ExpectSigns();
  EXPECT_EQ(environment_.CountCalls("C_Login"), 1u);
}

// A rule of the faulty module for one mechanism leaves the keys of others alone.
TEST_F(Recovery, RefusalOfOneMechanismCostsNobodyElse) {
  auto& tokend = Start();
  const auto rsa = tokend.Generate(KeyType::kRsa, 2048, {0x02});
  ASSERT_EQ(rsa.outcome, Outcome::kOk) << rsa.message;
  tokend.Define(2, rsa, {0x02});
  for (const char* function : {"C_SignInit", "C_Sign"}) {
    environment_.WriteFaults(std::string(function) + " * return CKR_KEY_FUNCTION_NOT_PERMITTED of CKM_RSA_PKCS");
    EXPECT_EQ(tokend.Sign(2, Sha256("x")).outcome, Outcome::kTokenRefused) << function;
    ExpectSigns();
    environment_.WriteFaults(std::string(function) +
                             " * return CKR_KEY_FUNCTION_NOT_PERMITTED of 0x1057");  // CKM_EDDSA
    EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kTokenRefused) << function;
    EXPECT_EQ(tokend.Sign(2, Sha256("x")).outcome, Outcome::kOk) << function;
  }
}

class BrokenKey : public Recovery, public testing::WithParamInterface<const char*> {};

// As soon as another key signed under a login that did not mend this one, it is this one's own trouble.
TEST_P(BrokenKey, CostsNobodyElse) {
  auto& tokend = Start(2);
  const auto rsa = tokend.Generate(KeyType::kRsa, 2048, {0x02});
  ASSERT_EQ(rsa.outcome, Outcome::kOk) << rsa.message;
  tokend.Define(2, rsa, {0x02});
  environment_.WriteFaults(std::string("C_Sign * return ") + GetParam() + " of CKM_EDDSA");
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kTokenDown);
  // Until then the token may be down for a moment: nothing had shown that it is well.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (tokend.Sign(2, Sha256("y")).outcome != Outcome::kOk && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kTokenDown);
    EXPECT_EQ(tokend.Sign(2, Sha256("y")).outcome, Outcome::kOk) << i;
  }
  EXPECT_LE(environment_.CountCalls("C_Login"), 3u);
  EXPECT_LE(environment_.CountCalls("C_Initialize"), 2u);
  environment_.WriteFaults("");
  ExpectSigns();
}
INSTANTIATE_TEST_SUITE_P(Codes, BrokenKey,
                         testing::Values("CKR_DEVICE_ERROR", "CKR_FUNCTION_FAILED", "CKR_VENDOR_DEFINED"),
                         [](const auto& row) { return std::string(row.param); });

// Where no other key shows that the token is well, the token is seen to.
TEST_F(Recovery, OnlyKeyInTroubleIsTheTokensTrouble) {
  auto& tokend = Start();
  ExpectSigns();
  environment_.WriteFaults("C_Sign * return CKR_DEVICE_ERROR");
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kTokenDown);
  EXPECT_EQ(tokend.AwaitState(TokenState::kDown).token_code, 0x30u);
}

TEST_F(Recovery, WhatWaitsBehindAHungCallExpires) {
  auto& tokend = Start();
  environment_.WriteFaults("C_Sign 1 hang");
  const Bytes digest = Sha256("x");
  tokend.Send(link::SignBatch{3600'000, {{1, 1, InputKind::kDigest, digest}}});
  const auto outcomes = tokend.Sign({200, {{2, 1, InputKind::kDigest, digest}, {3, 1, InputKind::kDigest, digest}}});
  EXPECT_EQ(outcomes.at(2).outcome, Outcome::kExpired);
  EXPECT_EQ(outcomes.at(3).outcome, Outcome::kExpired);
  tokend.Send(link::Ping{5});
  EXPECT_EQ(tokend.Await<link::Pong>().id, 5u) << "the link does not hang with the module";
}

TEST_F(Recovery, OtherSessionsGoOnWhileOneHangs) {
  auto& tokend = Start(2);
  environment_.WriteFaults("C_Sign 1 hang");
  link::SignBatch batch{3600'000, {}};
  for (std::uint64_t i = 0; i < 21; ++i) batch.items.push_back({i, 1, InputKind::kDigest, Sha256(std::to_string(i))});
  tokend.Send(batch);
  for (std::size_t answered = 0; answered < 20;) {
    for (const auto& outcome : tokend.Await<link::SignResults>().outcomes) {
      EXPECT_EQ(outcome.outcome, Outcome::kOk);
      EXPECT_TRUE(Verifies(key_.spki, batch.items.at(outcome.id).input, outcome.signature));
      ++answered;
    }
  }
}

TEST_F(Recovery, EndsWithTheLinkEvenWhenACallHangs) {
  auto& tokend = Start();
  environment_.WriteFaults("C_Sign 1 hang");
  tokend.Send(link::SignBatch{3600'000, {{1, 1, InputKind::kDigest, Sha256("x")}}});
  while (environment_.CountCalls("hang") == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  tokend.CloseLink();
  EXPECT_EQ(tokend.Wait(), 0);
}

TEST_F(Recovery, ModuleThatKeepsMuchMemoryEndsTheProcessInOrder) {
  auto& tokend = Start();
  environment_.WriteFaults("C_Sign @1 leak 300");
  // Whether it is answered is left open: memory is looked at while it is made too, and signerd asks the next process.
  tokend.Send(link::SignBatch{30000, {{1, 1, InputKind::kDigest, Sha256("x")}}});
  while (tokend.Receive()) {
  }
  EXPECT_EQ(tokend.Wait(), 0);
}

TEST_F(Recovery, ModuleThatLoadsMuchIsLeftInPeace) {
  environment_.WriteFaults("C_Initialize 1 leak 300");
  Start();
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // its memory is looked at each second
  ExpectSigns();
}

TEST_F(Recovery, CrashOfTheModuleEndsTheLink) {
  auto& tokend = Start();
  environment_.WriteFaults("C_Sign 1 crash");
  tokend.Send(link::SignBatch{30000, {{1, 1, InputKind::kDigest, Sha256("x")}}});
  while (tokend.Receive()) {
  }
  EXPECT_EQ(tokend.Wait(), 128 + SIGABRT);
}

TEST_F(Recovery, ModuleThatOnlyANewProcessMends) {
  auto& tokend = Start();
  environment_.WriteFaults("C_Sign 1 return 0x30\nC_Initialize * return 0x5");
  tokend.Send(link::SignBatch{30000, {{1, 1, InputKind::kDigest, Sha256("x")}}});
  while (tokend.Receive()) {
  }
  EXPECT_EQ(tokend.Wait(), 1);
}

TEST_F(Recovery, TokenThatHashesItselfSaysSo) {
  environment_.WriteFaults("C_GetMechanismInfo * return 0x70");  // CKR_MECHANISM_INVALID
  auto& tokend = Start();
  EXPECT_EQ(tokend.status()->wants_data, 1);
  EXPECT_EQ(tokend.status()->cannot_make, 3);
}

TEST_F(Recovery, TokenThatDoesNotKnowItsMechanismsIsTakenToSignDigests) {
  environment_.WriteFaults("C_GetMechanismInfo * return CKR_FUNCTION_NOT_SUPPORTED");
  auto& tokend = Start();
  EXPECT_EQ(tokend.status()->wants_data, 0);
  EXPECT_EQ(tokend.status()->cannot_make, 0);
}

TEST_F(Recovery, TroubleWithTheMechanismsIsNotTakenForAnAnswer) {
  environment_.WriteFaults("C_GetMechanismInfo @1-3 return CKR_FUNCTION_FAILED of CKM_RSA_PKCS");
  auto& tokend = Start();
  EXPECT_EQ(tokend.status()->wants_data, 0);
}

TEST_F(Recovery, KeyThatCannotBeMadeIsNotLeftBehind) {
  auto& tokend = Start();
  environment_.WriteFaults("C_GetAttributeValue * return 0x30");
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, {0x42}).outcome, Outcome::kTokenDown);
  environment_.WriteFaults("");
  tokend.AwaitState(TokenState::kReady);
  tokend.Send(link::FindKey{9, {0x42}});
  EXPECT_EQ(tokend.Await<link::KeyReply>().outcome, Outcome::kKeyMissing);
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, {0x42}).outcome, Outcome::kOk);
}

struct Making {
  const char* name;
  KeyType type;
  unsigned bits;
  std::vector<std::string> variables;  // of the tokend that makes the pair anew
};
// The public object is in the token when all ends, and not the private one.
class HalfMade : public Recovery, public testing::WithParamInterface<Making> {
 protected:
  void LeaveHalf(const Bytes& id) {
    environment_.WriteFaults("C_CopyObject @4 crash");  // the second of the second pair
    auto& first = Start();
    first.Send(link::GenerateKey{7, GetParam().type, GetParam().bits, id, "half"});
    while (first.Receive()) {
    }
    ASSERT_EQ(first.Wait(), 128 + SIGABRT);
    environment_.WriteFaults("");
  }
  // The next process, which knows the first pair.
  TokendClient& StartAgain() {
    TokendClient::Options options;
    options.faulty = true;
    options.variables = GetParam().variables;
    auto& tokend = tokend_.emplace(environment_, options);
    tokend.Await<link::Hello>();
    tokend.AwaitState(TokenState::kReady);
    tokend.Define(1, key_, kId);
    return tokend;
  }
  std::size_t CountObjects() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(environment_.directory() / "tokens")) {
      if (entry.path().extension() == ".object" && entry.path().filename() != "token.object") ++count;
    }
    return count;
  }
};

TEST_P(HalfMade, PairIsMadeAnewUnderTheSameId) {
  const Bytes id = {0x42};
  LeaveHalf(id);
  auto& tokend = StartAgain();
  const auto find = [&] {
    tokend.Send(link::FindKey{8, id});
    return tokend.Await<link::KeyReply>();
  };
  EXPECT_EQ(find().outcome, Outcome::kKeyMissing);
  const auto made = tokend.Generate(GetParam().type, GetParam().bits, id);
  ASSERT_EQ(made.outcome, Outcome::kOk) << made.message;
  EXPECT_EQ(find().spki, made.spki);
  tokend.Define(2, made, id);
  const Bytes digest = Sha256("x");
  const auto signature = tokend.Sign(2, digest);
  ASSERT_EQ(signature.outcome, Outcome::kOk);
  EXPECT_TRUE(Verifies(made.spki, digest, signature.signature));
  const auto destroyed = tokend.Destroy(id, made.spki);
  EXPECT_EQ(destroyed.outcome, Outcome::kOk) << destroyed.message;
  EXPECT_EQ(find().outcome, Outcome::kKeyMissing);
  ExpectSigns();
}

// Whoever gives it up has it destroyed, though its public part was told to nobody; a whole pair is not taken for it.
TEST_P(HalfMade, PairIsDestroyed) {
  const Bytes id = {0x42};
  LeaveHalf(id);
  ASSERT_EQ(CountObjects(), 3u);
  auto& tokend = StartAgain();
  const auto destroyed = tokend.Destroy(id, {});
  EXPECT_EQ(destroyed.outcome, Outcome::kOk) << destroyed.message;
  EXPECT_EQ(CountObjects(), 2u);
  EXPECT_EQ(tokend.Destroy(id, {}).outcome, Outcome::kOk) << "nothing is there";
  EXPECT_EQ(tokend.Destroy(kId, {}).outcome, Outcome::kKeyMismatch);
  ExpectSigns();
}
INSTANTIATE_TEST_SUITE_P(
    Ways, HalfMade,
    testing::Values(Making{"CopiedEd25519", KeyType::kEd25519, 0, {}}, Making{"CopiedRsa", KeyType::kRsa, 2048, {}},
                    // With no more than one session the pair is made in the token at once.
                    Making{"InTheToken", KeyType::kEd25519, 0, {"FAULTY_PKCS11_SIMULATE=sessions=2"}}),
    [](const auto& row) { return std::string(row.param.name); });

// After such trouble a handle may be another object's: nothing is destroyed by it. Whoever asked finds the pair by its
// CKA_ID.
TEST_F(Recovery, NothingIsDestroyedByAHandleFromBeforeTheTrouble) {
  auto& tokend = Start();
  // SoftHSM's pair is copied into the token; the session's own is destroyed by its handles while all is well.
  environment_.WriteFaults(
      "C_GetAttributeValue * return CKR_DEVICE_ERROR\nC_FindObjectsInit @3+ return CKR_DEVICE_ERROR\n"
      "C_DestroyObject @3+ crash");
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, {0x42}).outcome, Outcome::kTokenDown);
  environment_.WriteFaults("");
  tokend.AwaitState(TokenState::kReady);
  environment_.WriteFaults(
      "C_CopyObject @2 return CKR_SESSION_HANDLE_INVALID\nC_FindObjectsInit @3+ return CKR_SESSION_HANDLE_INVALID\n"
      "C_DestroyObject * crash");
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, {0x43}).outcome, Outcome::kTokenDown);
  environment_.WriteFaults("");
  tokend.AwaitState(TokenState::kReady);
  tokend.Send(link::FindKey{9, {0x42}});
  const auto left = tokend.Await<link::KeyReply>();
  EXPECT_EQ(left.outcome, Outcome::kOk) << left.message;
  EXPECT_EQ(tokend.Destroy({0x42}, left.spki).outcome, Outcome::kOk);
}

TEST_F(Recovery, KeyCallsThatPileUpAreRefused) {
  auto& tokend = Start();
  environment_.WriteFaults("C_FindObjectsInit @1 hang");
  tokend.Send(link::FindKey{1, kId});
  while (environment_.CountCalls("hang") == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  for (std::uint64_t id = 2; id <= 1003; ++id) tokend.Send(link::FindKey{id, kId});
  for (const std::uint64_t id : {1002, 1003}) {
    const auto refused = tokend.Await<link::KeyReply>();
    EXPECT_EQ(refused.id, id);
    EXPECT_EQ(refused.outcome, Outcome::kTokenDown);
    EXPECT_NE(refused.message.find("too many"), std::string::npos) << refused.message;
  }
}

TEST_F(Recovery, SlowTokenIsWaitedFor) {
  Start();
  environment_.WriteFaults("C_Sign 1 delay 300");
  ExpectSigns();
}

class Pin : public Recovery {
 protected:
  TokendClient& StartWithFaults() {
    TokendClient::Options options;
    options.faulty = true;
    tokend_.emplace(environment_, options);
    tokend_->Await<link::Hello>();
    return *tokend_;
  }
};

TEST_F(Pin, ThatIsWrongIsTriedOnce) {
  environment_.WritePin("111111");
  auto& tokend = StartWithFaults();
  const auto status = tokend.AwaitState(TokenState::kPinRejected);
  EXPECT_EQ(status.token_code, 0xa0u);
  EXPECT_EQ(status.message.find("111111"), std::string::npos);
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kPinRejected);
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, kId).outcome, Outcome::kPinRejected);
  // Two looks at the file later; the same PIN written again is no change.
  environment_.WritePin("111111");
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  EXPECT_EQ(environment_.CountCalls("C_Login"), 1u);

  environment_.WritePin(kPin);
  tokend.AwaitState(TokenState::kReady);
  EXPECT_EQ(environment_.CountCalls("C_Login"), 2u);
}

TEST_F(Pin, ThatTurnsWrongIsNotTriedAgainInRecovery) {
  auto& tokend = Start();
  environment_.WriteFaults("C_SignInit 1 return 0x101\nC_Login 2+ return 0xa0");
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kPinRejected);
  tokend.AwaitState(TokenState::kPinRejected);
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kPinRejected);
  EXPECT_EQ(environment_.CountCalls("C_Login"), 2u);
}

// Vendors have codes of their own for a wrong PIN.
TEST_F(Pin, ThatFailsWithAnUnknownCodeIsTriedThreeTimes) {
  environment_.WritePin("111111");
  environment_.WriteFaults("C_Login * return 0x80000123");
  auto& tokend = StartWithFaults();
  const auto status = tokend.AwaitState(TokenState::kPinRejected);
  EXPECT_EQ(status.token_code, 0x80000123u);
  EXPECT_NE(status.message.find("0x80000123"), std::string::npos) << status.message;
  EXPECT_EQ(tokend.Await<link::TokenStatus>().state, TokenState::kPinRejected) << "at the next look";
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kPinRejected);
  EXPECT_EQ(environment_.CountCalls("C_Login"), 3u);

  environment_.WriteFaults("");
  environment_.WritePin(kPin);
  tokend.AwaitState(TokenState::kReady);
  EXPECT_EQ(environment_.CountCalls("C_Login"), 4u);
}

// Such a failure may be a try that the token counts.
TEST_F(Pin, IsTriedLessAndLessOftenWhereTheTokenDoesNotSayWhatIsWrong) {
  const auto begun = std::chrono::steady_clock::now();
  environment_.WriteFaults("C_Login @1-4 return CKR_FUNCTION_FAILED");
  StartWithFaults().AwaitState(TokenState::kReady);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5)) << "1 + 1 + 1 + 2";
  EXPECT_EQ(environment_.CountCalls("C_Login"), 5u);
}

TEST_F(Pin, IsNotGivenUpWhereTheTokenSaysWhatElseIsWrong) {
  environment_.WriteFaults("C_Login @1-4 return CKR_USER_TOO_MANY_TYPES");
  StartWithFaults().AwaitState(TokenState::kReady);
  EXPECT_EQ(environment_.CountCalls("C_Login"), 5u);
}

struct Flag {
  const char* name;
  const char* rules;
};
class PinFlag : public Pin, public testing::WithParamInterface<Flag> {};

TEST_P(PinFlag, KeepsThePinFromBeingTried) {
  environment_.WriteFaults(GetParam().rules);
  auto& tokend = StartWithFaults();
  EXPECT_FALSE(tokend.AwaitState(TokenState::kPinRejected).message.empty());
  EXPECT_EQ(environment_.CountCalls("C_Login"), 0u);
  environment_.WriteFaults("");
  tokend.AwaitState(TokenState::kReady);
}
const Flag kFlags[] = {{"FinalTry", "C_GetTokenInfo * flags 0x20000"},
                       {"Locked", "C_GetTokenInfo * flags 0x40000"},
                       {"ToBeChanged", "C_GetTokenInfo * flags 0x80000"}};
INSTANTIATE_TEST_SUITE_P(All, PinFlag, testing::ValuesIn(kFlags),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_F(Pin, FileThatIsMissingIsWaitedFor) {
  std::filesystem::remove(environment_.directory() / "pin");
  auto& tokend = StartWithFaults();
  tokend.AwaitState(TokenState::kDown);
  environment_.WritePin(kPin);
  tokend.AwaitState(TokenState::kReady);
}

// A PIN that was written with something around it is a mistake in the file and no try.
TEST_F(Pin, WithSomethingAroundItIsNotTried) {
  for (const std::string& written : {std::string(kPin) + " ", std::string("\xef\xbb\xbf") + kPin}) {
    environment_.WritePin(written);
    auto& tokend = StartWithFaults();
    const auto status = tokend.AwaitState(TokenState::kDown);
    EXPECT_NE(status.message.find("write the PIN alone"), std::string::npos) << status.message;
    EXPECT_EQ(status.message.find(kPin), std::string::npos);
    EXPECT_EQ(environment_.CountCalls("C_Login"), 0u);
  }
  environment_.WritePin(kPin);
  tokend_->AwaitState(TokenState::kReady);
}

TEST_F(Recovery, ModuleThatIsMissingIsDown) {
  std::filesystem::remove_all(environment_.directory() / "tokens");  // SoftHSM does not initialize without it
  TokendClient::Options options;
  options.faulty = true;
  TokendClient tokend(environment_, options);
  tokend.Await<link::Hello>();
  const auto status = tokend.AwaitState(TokenState::kDown);
  EXPECT_NE(status.token_code, 0u);
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kTokenDown);
}

TEST(Absent, TokenIsTakenWhenItComes) {
  HsmEnvironment environment(false);
  TokendClient::Options options;
  options.faulty = true;
  TokendClient tokend(environment, options);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kAbsent);
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kTokenDown);
  environment.InitToken();
  tokend.AwaitState(TokenState::kReady);
  EXPECT_EQ(tokend.Generate(KeyType::kEd25519, 0, kId).outcome, Outcome::kOk);
}

// Whoever makes the token is between C_InitToken and C_InitPIN when tokend looks. SoftHSM would not see the PIN before
// it is initialized again.
TEST(Absent, TokenIsTakenThatHasNoPinYet) {
  HsmEnvironment environment(false);
  environment.WriteFaults("C_InitPIN * delay 4000");
  std::thread maker([&] { environment.InitToken(kTokenLabel, environment.faulty_module()); });
  TokendClient::Options options;
  options.more = {"--between-restarts", "1"};
  TokendClient tokend(environment, options);
  tokend.Await<link::Hello>();
  EXPECT_EQ(tokend.AwaitState(TokenState::kDown).token_code, 0x102u);  // CKR_USER_PIN_NOT_INITIALIZED
  maker.join();
  tokend.AwaitState(TokenState::kReady);
}

TEST_F(Recovery, TokenThatGoesAndComesBackSignsAgain) {
  auto& tokend = Start();
  ExpectSigns();
  environment_.HideTokens();
  environment_.WriteFaults("C_GetTokenInfo * return 0xe0\nC_Sign * return 0xe0");  // CKR_TOKEN_NOT_PRESENT
  tokend.AwaitState(TokenState::kAbsent);
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kTokenDown);
  environment_.ShowTokens();
  environment_.WriteFaults("");
  tokend.AwaitState(TokenState::kReady);
  ExpectSigns();
}

}  // namespace
}  // namespace hallmark::test
