#include "token_set_fixture.h"

namespace hallmark::tokens {
namespace {

TEST_F(TokenSetTest, BothOfAGroupSign) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  EXPECT_TRUE(tokens_->Has("hsm"));
  EXPECT_FALSE(tokens_->Has("a"));
  EXPECT_THAT(tokens_->MembersOf("hsm"), testing::ElementsAre("a", "b"));
  const auto by_token = SignMany(MakeKey("a", "hsm"), 200);
  EXPECT_EQ(by_token.size(), 2);
}

TEST_F(TokenSetTest, OneThatDiesIsReplacedByTheOtherAndIsSickUntilItIsLetBack) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  SignMany(key, 20);
  WriteFaults("a", "C_Sign * crash");
  EXPECT_EQ(SignMany(key, 200)["a"], 0);
  EXPECT_TRUE(FactsOf("a").sick);
  EXPECT_FALSE(FactsOf("b").sick);
  WriteFaults("a", "");
  ASSERT_TRUE(Becomes([&] { return FactsOf("a").status.state == link::TokenState::kReady; }));
  EXPECT_EQ(SignMany(key, 50)["a"], 0);
  const Answer test = Sign(key, "a").get();
  ASSERT_TRUE(test) << test.error().message;
  EXPECT_EQ(test->token, "a");
  tokens_->SetSick("a", false);
  EXPECT_GT(SignMany(key, 200)["a"], 0);
}

TEST_F(TokenSetTest, OneThatHangsHoldsNothingUp) {
  std::vector<TokenConfig> configs = {Faulty("a", "hsm"), Faulty("b", "hsm")};
  for (TokenConfig& config : configs) config.sign_timeout = 600s;
  Start(configs);
  const auto key = MakeKey("a", "hsm");
  WriteFaults("a", "C_Sign * hang");
  SignMany(key, 100);  // each within its deadline of 20 s, though nothing replaces the tokend that hangs
  EXPECT_EQ(FactsOf("a").starts, 1);
  EXPECT_EQ(SignMany(key, 100)["a"], 0);
}

TEST_F(TokenSetTest, ATokenWithoutTheKeyIsNotAskedUntilItHasIt) {
  const test::SoftToken empty{kTokend};
  TokenConfig without = empty.Config("b");
  without.group = "hsm";
  Start({Faulty("a", "hsm"), without});
  const auto key = MakeKey("a", "hsm");
  EXPECT_EQ(SignMany(key, 50)["b"], 0);
  EXPECT_EQ(SignMany(key, 50)["b"], 0);
  const auto found = tokens_->Find("b", key->cka_id);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().reason, Reason::kKeyMissing);
  // The error that is worth a retry is the one that is given.
  WriteFaults("a", "C_GetFunctionList * crash\nC_Sign * crash");
  const Answer answer = Sign(key, {}, 30s).get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, Reason::kTokenDown);
}

TEST_F(TokenSetTest, AnErrorOfTheKeyIsGivenWhenAllHaveIt) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  for (const char* name : {"a", "b"}) WriteFaults(name, "C_SignInit * return CKR_KEY_FUNCTION_NOT_PERMITTED");
  const Answer answer = Sign(key).get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, Reason::kTokenRefused);
}

TEST_F(TokenSetTest, OneThatRefusesIsDrained) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  SignMany(key, 20);
  WriteFaults("a", "C_SignInit * return CKR_KEY_FUNCTION_NOT_PERMITTED");
  EXPECT_EQ(SignMany(key, 100)["a"], 0);
  EXPECT_TRUE(FactsOf("a").sick);
}

TEST_F(TokenSetTest, WhenAllDieWhatIsInFlightWaitsForThem) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  for (const char* name : {"a", "b"}) WriteFaults(name, "C_Sign @1 crash");
  SignMany(key, 20);
}

// What waits for one that is starting goes to the other when that one does not come back.
TEST_F(TokenSetTest, WhenAllDieAndOneStaysAwayTheOtherIsWaitedFor) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  WriteFaults("a", "C_Sign @1 crash\nC_Initialize * delay 900");
  WriteFaults("b", "C_Sign @1 crash\nC_Initialize * delay 500\ntoken * absent from 0.4");
  SignMany(key, 20);
}

TEST_F(TokenSetTest, StoppedWithWorkInFlight) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  for (const char* name : {"a", "b"}) WriteFaults(name, "C_Sign * delay 300");
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 50; ++i) answers.push_back(Sign(key));
  tokens_->Stop();
  for (auto& answer : answers) answer.get();  // each is answered
}

// What waits for one that takes long to come back goes to the other as soon as that one is back, sick though it is.
TEST_F(TokenSetTest, WhenAllDieTheFirstThatIsBackSigns) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  WriteFaults("a", "C_Sign @1 crash");
  WriteFaults("b", "C_Sign @1 crash\nC_Initialize * delay 4000");
  EXPECT_EQ(SignMany(key, 20)["a"], 20);
  EXPECT_EQ(FactsOf("b").status.state, link::TokenState::kStarting);
}

// Each is asked twice, and not the next tokend of each once more.
TEST_F(TokenSetTest, AMessageThatCrashesTheModuleEndsFewTokends) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  for (const char* name : {"a", "b"}) WriteFaults(name, "C_Sign * crash");
  const Answer answer = Sign(key).get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, Reason::kTokenDown);
  for (const char* name : {"a", "b"}) {
    ASSERT_TRUE(Becomes([&] { return FactsOf(name).status.state == link::TokenState::kReady; }));
    EXPECT_LE(FactsOf(name).starts, 3) << name;
  }
}

// A rotation looks for the key that it plans before it makes it.
TEST_F(TokenSetTest, AKeyThatWasLookedForBeforeItWasMadeHasAllMembersAtOnce) {
  std::vector<TokenConfig> configs = {Faulty("a", "hsm"), Faulty("b", "hsm")};
  for (TokenConfig& config : configs) config.sign_timeout = 600s;
  Start(configs);
  const Bytes id = NewId();
  for (const char* name : {"a", "b"}) ASSERT_FALSE(tokens_->Find(name, id));
  const auto key = MakeKey("a", "hsm", link::KeyType::kEd25519, id);
  WriteFaults("a", "C_Sign * hang");
  EXPECT_EQ(SignMany(key, 20)["b"], 20);
}

TEST_F(TokenSetTest, AMemberThatTurnsOutToHaveTheKeyIsAskedAgain) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  WriteFaults("b", "C_FindObjects * length 0");  // it finds nothing
  for (const char* name : {"a", "b"}) (void)tokens_->Find(name, key->cka_id);
  WriteFaults("b", "");
  EXPECT_EQ(SignMany(key, 50)["b"], 0);
  WriteFaults("a", "C_SignInit * return CKR_KEY_FUNCTION_NOT_PERMITTED");  // so b is asked all the same
  EXPECT_EQ(SignMany(key, 1)["b"], 1);
  WriteFaults("a", "");
  tokens_->SetSick("a", false);
  EXPECT_GT(SignMany(key, 50)["b"], 0);
}

// As when the vendor's copy has come: nothing else would have it asked while the other signs.
TEST_F(TokenSetTest, AMemberThatIsSeenToHaveTheKeyIsAskedAgain) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  WriteFaults("b", "C_FindObjects * length 0");  // it finds nothing
  EXPECT_EQ(SignMany(key, 50)["b"], 0);
  WriteFaults("b", "");
  EXPECT_EQ(SignMany(key, 50)["b"], 0);
  ASSERT_TRUE(tokens_->Find("b", key->cka_id));
  EXPECT_GT(SignMany(key, 50)["b"], 0);
}

// That it has a pair under this CKA_ID is seen over and over; it is another one, and signs nothing.
TEST_F(TokenSetTest, AMemberWithAnotherPairInItsPlaceIsNotAskedWheneverThatIsSeen) {
  const test::SoftToken other{kTokend};
  TokenConfig with_other = Faulty("b", "hsm");
  with_other.pin_file = other.Config("b").pin_file;
  with_other.uri = other.Config("b").uri;
  with_other.environment["SOFTHSM2_CONF"] = other.Config("b").environment["SOFTHSM2_CONF"];
  with_other.sign_timeout = 600s;
  Start({Faulty("a", "hsm"), with_other});
  const Bytes id = NewId();
  const auto key = MakeKey("a", "hsm", link::KeyType::kEd25519, id);
  MakeKey("b", "hsm", link::KeyType::kEd25519, id);
  EXPECT_EQ(SignMany(key, 20)["a"], 20);
  ASSERT_TRUE(tokens_->Find("b", id));
  WriteFaults("b", "C_FindObjectsInit * hang");  // with which tokend looks for a key that it is to sign with
  EXPECT_EQ(SignMany(key, 20)["a"], 20);
  EXPECT_FALSE(Hangs("b")) << "it was asked";
}

// The one that is late, and then fails, is sick though the other's signature was the answer.
TEST_F(TokenSetTest, TheErrorOfOneThatIsTooLateCounts) {
  std::vector<TokenConfig> configs = {Faulty("a", "hsm"), Faulty("b", "hsm")};
  for (TokenConfig& config : configs) config.sign_timeout = 600s;
  Start(configs);
  const auto key = MakeKey("a", "hsm");
  WriteFaults("a", "C_FindObjectsInit * delay 1000\nC_SignInit * return CKR_KEY_FUNCTION_NOT_PERMITTED");
  EXPECT_EQ(SignMany(key, 4)["b"], 4);
  EXPECT_TRUE(Becomes([&] { return FactsOf("a").sick; }));
}

// Of the errors the relay gets the one that is worth a retry.
TEST_F(TokenSetTest, AnErrorThatMayPassIsGivenBeforeOneThatStays) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  WriteFaults("b", "C_SignInit @1 return CKR_USER_NOT_LOGGED_IN\nC_Login * return CKR_PIN_INCORRECT");
  ASSERT_FALSE(Sign(key, "b").get());
  ASSERT_TRUE(Becomes([&] { return FactsOf("b").status.state == link::TokenState::kPinRejected; }));
  WriteFaults("a", "C_SignInit * return CKR_KEY_FUNCTION_NOT_PERMITTED");
  const Answer answer = Sign(key).get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, Reason::kPinRejected);
}

}  // namespace
}  // namespace hallmark::tokens
