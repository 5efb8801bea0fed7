#include <fstream>

#include "token_set_fixture.h"

namespace hallmark::tokens {
namespace {

// A key that is asked for while a signature hangs must not make it look as if it waited for the key.
TEST_F(TokenSetTest, AHangOnTheOnlySessionIsSeenThoughAKeyWaits) {
  Start({Faulty("card", "", "sessions=1")});
  const auto key = MakeKey("card", "card");
  ASSERT_TRUE(Sign(key).get());
  WriteFaults("card", "C_Sign @1 hang");
  auto answer = Sign(key, {}, 25s);
  ASSERT_TRUE(Becomes([&] { return Hangs("card"); }));
  std::this_thread::sleep_for(300ms);  // more than two frames need from one process to the other
  std::thread making([&] { (void)tokens_->Generate("card", link::KeyType::kEd25519, 0, {9}, "late"); });
  const Answer made = answer.get();
  EXPECT_TRUE(made) << made.error().message;
  making.join();
}

// The same on several, where a key is made beside signatures and only then waits for the one that hangs.
TEST_F(TokenSetTest, AHangIsSeenThoughAKeyIsMade) {
  Start({Faulty("hsm", "")});
  const auto key = MakeKey("hsm", "hsm");
  ASSERT_TRUE(Sign(key).get());
  WriteFaults("hsm", "C_Sign @1 hang");
  auto answer = Sign(key, {}, 25s);
  ASSERT_TRUE(Becomes([&] { return Hangs("hsm"); }));
  std::thread making([&] { (void)tokens_->Generate("hsm", link::KeyType::kEd25519, 0, {9}, "late"); });
  const Answer made = answer.get();
  EXPECT_TRUE(made) << made.error().message;
  making.join();
}

// Nor a key that is asked for at the same moment, and waits for the signature.
TEST_F(TokenSetTest, AHangOnTheOnlySessionIsSeenThoughAKeyWasAskedForWithIt) {
  Start({Faulty("card", "", "sessions=1")});
  const auto key = MakeKey("card", "card");
  ASSERT_TRUE(Sign(key).get());
  WriteFaults("card", "C_Sign @1 hang");
  auto answer = Sign(key, {}, 25s);
  std::thread making([&] { (void)tokens_->Generate("card", link::KeyType::kEd25519, 0, {9}, "with it"); });
  const Answer made = answer.get();
  EXPECT_TRUE(made) << made.error().message;
  making.join();
}

// On one session a signature waits for a key that is being made, which takes longer than a signature may.
TEST_F(TokenSetTest, ASignatureThatWaitsForAKeyIsNoHang) {
  Start({Faulty("card", "", "sessions=1")});
  const auto key = MakeKey("card", "card");
  ASSERT_TRUE(Sign(key).get());
  WriteFaults("card", "C_GenerateKeyPair @1 delay 3000");
  std::promise<bool> made_key;
  std::thread making(
      [&] { made_key.set_value(tokens_->Generate("card", link::KeyType::kEd25519, 0, {9}, "slow").has_value()); });
  std::this_thread::sleep_for(500ms);
  const Answer made = Sign(key).get();
  EXPECT_TRUE(made) << made.error().message;
  EXPECT_TRUE(made_key.get_future().get());
  making.join();
  EXPECT_EQ(FactsOf("card").starts, 1);
}

// The same where a token has several sessions and does one thing at a time all the same.
TEST_F(TokenSetTest, ASignatureThatATokenMakesAKeyBeforeIsNoHang) {
  Start({Faulty("hsm", "", "sessions=6,hardware")});
  const auto key = MakeKey("hsm", "hsm");
  ASSERT_TRUE(Sign(key).get());
  WriteFaults("hsm", "C_GenerateKeyPair @1 alone 4000\nC_Sign * delay 50");
  std::promise<bool> made_key;
  std::vector<std::future<Answer>> busy;  // as it begins, and while it goes on
  std::thread making(
      [&] { made_key.set_value(tokens_->Generate("hsm", link::KeyType::kEd25519, 0, {9}, "slow").has_value()); });
  for (int i = 0; i < 100; ++i) {
    busy.push_back(Sign(key));
    std::this_thread::sleep_for(10ms);
  }
  for (auto& one : busy) {
    const Answer made = one.get();
    EXPECT_TRUE(made) << made.error().message;
  }
  EXPECT_TRUE(made_key.get_future().get());
  making.join();
  EXPECT_EQ(FactsOf("hsm").starts, 1);
}

// Nor one that waited for that together with another, which comes back first.
TEST_F(TokenSetTest, ASignatureThatComesBackAfterAKeyIsNotOvertaken) {
  Start({Faulty("hsm", "", "sessions=6,hardware")});
  const auto key = MakeKey("hsm", "hsm");
  ASSERT_TRUE(Sign(key).get());
  WriteFaults("hsm", "C_GenerateKeyPair @1 alone 4000\nC_Sign @1 delay 500");
  std::thread making([&] { (void)tokens_->Generate("hsm", link::KeyType::kEd25519, 0, {9}, "slow"); });
  std::this_thread::sleep_for(500ms);
  auto first = Sign(key);
  std::this_thread::sleep_for(1500ms);
  auto second = Sign(key);
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
  making.join();
  EXPECT_EQ(FactsOf("hsm").starts, 1);
}

// Nor one that waits for others in a slow token, as long as they are answered.
TEST_F(TokenSetTest, SignaturesThatWaitForEachOtherAreNoHang) {
  TokenConfig config = Faulty("hsm", "", "rate=20,sessions=32");
  config.sessions = 30;
  Start({config});
  const auto key = MakeKey("hsm", "hsm");
  SignMany(key, 60);
  EXPECT_EQ(FactsOf("hsm").starts, 1);
}

TEST_F(TokenSetTest, ASignatureThatOthersOvertakeHangs) {
  Start({Faulty("hsm", "")});
  const auto key = MakeKey("hsm", "hsm");
  WriteFaults("hsm", "C_Sign @1 hang");
  auto first = Sign(key);
  while (first.wait_for(20ms) != std::future_status::ready) EXPECT_TRUE(Sign(key).get());
  EXPECT_TRUE(first.get());
  EXPECT_EQ(FactsOf("hsm").starts, 2);
}

// Where there is little to sign and room for much, it would take minutes until as many others were answered.
TEST_F(TokenSetTest, ASignatureThatLaterOnesOvertakeHangs) {
  TokenConfig config = Faulty("hsm", "", "sessions=32");
  config.sessions = 30;
  Start({config});
  const auto key = MakeKey("hsm", "hsm");
  WriteFaults("hsm", "C_Sign @1 hang");
  auto first = Sign(key);
  while (first.wait_for(300ms) != std::future_status::ready) EXPECT_TRUE(Sign(key).get());
  const Answer made = first.get();
  EXPECT_TRUE(made) << made.error().message;
  EXPECT_EQ(FactsOf("hsm").starts, 2);
}

// Keys that are made one after the other for hours, as where many domains rotate, do not hide it.
TEST_F(TokenSetTest, ASignatureThatOthersOvertakeHangsThoughKeyAfterKeyIsMade) {
  Start({Faulty("hsm", "", "sessions=6,hardware")});
  const auto key = MakeKey("hsm", "hsm");
  ASSERT_TRUE(Sign(key).get());
  WriteFaults("hsm", "C_Sign @1 hang\nC_GenerateKeyPair * delay 300");
  std::atomic<bool> enough{false};
  std::thread making([&] {  // pairs that live in a session: SoftHSM mixes up others that are made while it signs
    while (!enough) (void)tokens_->BeginImport("hsm");
  });
  auto first = Sign(key);
  while (first.wait_for(20ms) != std::future_status::ready) EXPECT_TRUE(Sign(key).get());
  const Answer made = first.get();
  EXPECT_TRUE(made) << made.error().message;
  enough = true;
  making.join();
  EXPECT_EQ(FactsOf("hsm").starts, 2);
}

// Nor for one that is being destroyed.
TEST_F(TokenSetTest, ASignatureThatWaitsForAKeyToGoIsNoHang) {
  Start({Faulty("card", "", "sessions=1")});
  const auto key = MakeKey("card", "card");
  const auto other = MakeKey("card", "card");
  ASSERT_TRUE(Sign(key).get());
  WriteFaults("card", "C_DestroyObject @1 delay 3000");
  std::promise<bool> gone;
  std::thread going(
      [&] { gone.set_value(tokens_->Destroy("card", other->cka_id, other->public_key->Spki()).has_value()); });
  std::this_thread::sleep_for(500ms);
  const Answer made = Sign(key).get();
  EXPECT_TRUE(made) << made.error().message;
  EXPECT_TRUE(gone.get_future().get());
  going.join();
  EXPECT_EQ(FactsOf("card").starts, 1);
}

// What is in flight then waits in tokend, for longer than a signature may take.
TEST_F(TokenSetTest, ALoginMadeAgainIsNoHang) {
  for (const char* simulate : {"", "sessions=1"}) {
    Start({Faulty("one", "", simulate)});
    const auto key = MakeKey("one", "one");
    ASSERT_TRUE(Sign(key).get());
    WriteFaults("one", "C_SignInit @1 return CKR_USER_NOT_LOGGED_IN\nC_Login * delay 3000");
    const Answer made = Sign(key).get();
    EXPECT_TRUE(made) << made.error().message;
    EXPECT_EQ(FactsOf("one").starts, 1) << simulate;
    tokens_.reset();
    WriteFaults("one", "");
  }
}

// Else what comes then is refused, as if each signature took so long.
TEST_F(TokenSetTest, ALoginMadeAgainIsNoTimeThatASignatureTakes) {
  TokenConfig config = Faulty("card", "", "sessions=1");
  config.sign_timeout = 600s;
  Start({config});
  const auto key = MakeKey("card", "card");
  WriteFaults("card", "C_SignInit @2 return CKR_USER_NOT_LOGGED_IN\nC_Login * delay 3000\nC_Sign * delay 20");
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 60; ++i) answers.push_back(Sign(key));
  ASSERT_TRUE(answers[1].get());
  const Answer made = Sign(key).get();
  EXPECT_TRUE(made) << made.error().message;
}

// Made by another program, as an HSM's administrator does it. The token signs digests with other keys; a new tokend
// has to be told again.
TEST_F(TokenSetTest, AKeyThatMayNotSignDigestsGetsTheData) {
  const std::string made = std::string("pkcs11-tool --module ") + test::SoftToken::kModule +
                           " --token-label test --login --pin " + test::SoftToken::kPin +
                           " --keypairgen --key-type rsa:2048 --usage-sign --id 0501 --allowed-mechanisms "
                           "SHA256-RSA-PKCS >/dev/null 2>&1";
  ASSERT_EQ(std::system(made.c_str()), 0);
  Start({Faulty("one", "")});
  EXPECT_EQ(FactsOf("one").status.wants_data, 0);
  const auto found = tokens_->Find("one", {0x05, 0x01});
  ASSERT_TRUE(found) << found.error().message;
  snapshot::Key key = test::SampleKey("example.com", "s");
  key.token = "one";
  key.cka_id = {0x05, 0x01};
  key.public_key = std::make_shared<const dkim::PublicKey>(*dkim::PublicKey::FromSpki(found->spki));
  const auto restricted = std::make_shared<const snapshot::Key>(key);
  const auto other = MakeKey("one", "one", link::KeyType::kRsa);
  for (const char* faults : {"", "C_Sign @1 crash"}) {
    WriteFaults("one", faults);
    std::vector<std::future<Answer>> answers;
    std::vector<Signing> batch;
    for (int i = 0; i < 8; ++i) answers.push_back(Put(batch, i % 2 == 0 ? restricted : other, text_));
    tokens_->Sign(std::move(batch));
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const Answer answer = answers[i].get();
      ASSERT_TRUE(answer) << answer.error().message;
      const auto& with = i % 2 == 0 ? restricted : other;
      EXPECT_TRUE(with->public_key->Verify(dkim::Sha256Of(text_), answer->signature)) << i;
    }
  }
  EXPECT_EQ(FactsOf("one").starts, 2);
}

// A card whose PIN was refused is pulled, and comes back to another tokend. A new one tries what is in the file.
class RefusedPinTest : public TokenSetTest {
 protected:
  void Begin() {
    TokenConfig config = Faulty("card", "");
    config.pin_file = pin_file_;
    config.uri = "pkcs11:token=test?pin-source=file:" + pin_file_.string();
    WritePin("87654321");
    tokens_.emplace(kTokend, std::vector{config});
    tokens_->Start();
    ASSERT_TRUE(HasState(link::TokenState::kPinRejected));
  }
  void WritePin(const std::string& pin) const {
    std::ofstream(pin_file_.string() + ".next") << pin << "\n";
    using std::filesystem::perms;
    std::filesystem::permissions(pin_file_.string() + ".next", perms::owner_read | perms::owner_write);
    std::filesystem::rename(pin_file_.string() + ".next", pin_file_);
  }
  bool HasState(link::TokenState state) {
    return Becomes([&] { return FactsOf("card").status.state == state; });
  }
  const std::filesystem::path pin_file_ = folder_.path() / "pin";
};

TEST_F(RefusedPinTest, ItIsNotTriedAgainByTheNextTokend) {
  Begin();
  WriteFaults("card", "token * absent");
  ASSERT_TRUE(HasState(link::TokenState::kAbsent));
  WriteFaults("card", "C_Initialize * crash");  // tokend's look for it, and that of any other
  ASSERT_TRUE(
      Becomes([&] { return FactsOf("card").status.state != link::TokenState::kAbsent || FactsOf("card").starts > 1; }));
  WriteFaults("card", "");
  ASSERT_TRUE(HasState(link::TokenState::kPinRejected));
  EXPECT_THAT(FactsOf("card").status.message, testing::HasSubstr("when its file changes"));
  EXPECT_EQ(FactsOf("card").starts, 1);
  EXPECT_EQ(Logins("card"), 1);

  WritePin(test::SoftToken::kPin);
  ASSERT_TRUE(HasState(link::TokenState::kReady));
  EXPECT_EQ(Logins("card"), 2);
}

// It was never refused, and nobody changes the file once more.
TEST_F(RefusedPinTest, TheRightOneIsTriedByTheNextTokendWhereTheLastOneDiedOfIt) {
  Begin();
  WriteFaults("card", "C_Login @1 crash");
  WritePin(test::SoftToken::kPin);
  ASSERT_TRUE(HasState(link::TokenState::kReady)) << FactsOf("card").status.message;
  EXPECT_GT(FactsOf("card").starts, 1);
}

// A token that hashes itself gets all that is hashed: more than a frame holds, where there are many such.
TEST_F(TokenSetTest, LargeHeadersForATokenThatHashesItself) {
  WriteFaults("one", "C_GetMechanismInfo * return CKR_MECHANISM_INVALID");
  Start({Faulty("one", "")});
  const auto key = MakeKey("one", "one", link::KeyType::kRsa);
  ASSERT_NE(FactsOf("one").status.wants_data, 0);
  const std::string text(900'000, 'x');
  std::vector<std::future<Answer>> answers;
  std::vector<Signing> batch;
  for (int i = 0; i < 8; ++i) answers.push_back(Put(batch, key, text));
  tokens_->Sign(std::move(batch));
  for (auto& one : answers) {
    const Answer answer = one.get();
    EXPECT_TRUE(answer && key->public_key->Verify(dkim::Sha256Of(text), answer->signature));
  }
  EXPECT_EQ(FactsOf("one").starts, 1);
}

}  // namespace
}  // namespace hallmark::tokens
