#include "signerd/tokens/token_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <thread>

#include "soft_token.h"

namespace hallmark::tokens {
namespace {

using namespace std::chrono_literals;

const std::filesystem::path kTokend = std::filesystem::path(HALLMARK_BIN_DIR) / "tokend";
const std::filesystem::path kFaulty = std::filesystem::path(HALLMARK_BIN_DIR) / "../tests/libfaulty_pkcs11.so";
constexpr auto kPatience = 60s;  // until a test gives up

bool Becomes(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

// Two tokends on one SoftHSM token: clones, without a copy.
class TokenSetTest : public testing::Test {
 protected:
  // The faulty module stands before the token `name`.
  TokenConfig Faulty(const std::string& name, const std::string& group, const std::string& simulate = "") {
    TokenConfig config = token_.Config(name);
    config.group = group;
    config.sign_timeout = 1s;
    config.environment["FAULTY_PKCS11_MODULE"] = config.module;
    config.environment["FAULTY_PKCS11_CONTROL"] = Control(name);
    if (!simulate.empty()) config.environment["FAULTY_PKCS11_SIMULATE"] = simulate;
    config.module = kFaulty;
    return config;
  }
  std::string Control(const std::string& name) const { return (folder_.path() / name).string(); }
  void WriteFaults(const std::string& name, const std::string& rules) const {
    std::ofstream(Control(name) + ".next") << rules << "\n";
    std::filesystem::rename(Control(name) + ".next", Control(name));
  }
  bool Hangs(const std::string& name) const {
    std::ifstream log(Control(name) + ".log");
    for (std::string line; std::getline(log, line);) {
      if (line == "hang") return true;
    }
    return false;
  }

  void Start(const std::vector<TokenConfig>& configs) {
    tokens_.emplace(kTokend, configs);
    tokens_->Start();
    ASSERT_TRUE(Becomes([&] {
      const auto facts = tokens_->Facts();
      return std::all_of(facts.begin(), facts.end(),
                         [](const TokenFacts& one) { return one.status.state == link::TokenState::kReady; });
    }));
  }
  std::shared_ptr<const snapshot::Key> MakeKey(const std::string& member, const std::string& token) {
    const Bytes id = {1, 2, 3, static_cast<std::uint8_t>(++keys_)};
    const auto made = tokens_->Generate(member, link::KeyType::kEd25519, 0, id, "test");
    if (!made) throw std::runtime_error(made.error().message);
    snapshot::Key key = test::SampleKey("example.com", "s");
    key.token = token;
    key.cka_id = id;
    key.public_key = std::make_shared<const dkim::PublicKey>(*dkim::PublicKey::FromSpki(made->spki));
    return std::make_shared<const snapshot::Key>(key);
  }

  using Answer = Result<Made>;
  std::future<Answer> Sign(std::shared_ptr<const snapshot::Key> key, std::string_view only = {},
                           std::chrono::seconds within = 20s) {
    auto promise = std::make_shared<std::promise<Answer>>();
    Signing signing{std::move(key),
                    {},
                    nullptr,
                    std::chrono::steady_clock::now() + within,
                    Flow{"test"},
                    nullptr,
                    [promise](Answer answer) { promise->set_value(std::move(answer)); }};
    signing.digest.fill(static_cast<std::uint8_t>(++signings_));
    signing.only = only;
    auto answer = promise->get_future();
    std::vector<Signing> batch;
    batch.push_back(std::move(signing));
    tokens_->Sign(std::move(batch));
    return answer;
  }
  // How many of so many answers, asked for at once, are good; each error is a failure.
  std::map<std::string, int> SignMany(const std::shared_ptr<const snapshot::Key>& key, int count) {
    std::vector<std::future<Answer>> answers;
    for (int i = 0; i < count; ++i) answers.push_back(Sign(key));
    std::map<std::string, int> by_token;
    for (auto& one : answers) {
      const Answer answer = one.get();
      if (answer) {
        ++by_token[std::string(answer->token)];
      } else {
        ADD_FAILURE() << answer.error().message;
      }
    }
    return by_token;
  }
  TokenFacts FactsOf(const std::string& name) {
    for (TokenFacts& facts : tokens_->Facts()) {
      if (facts.name == name) return facts;
    }
    throw std::runtime_error("no token " + name);
  }

  const test::SoftToken token_{kTokend};
  const test::TemporaryFolder folder_;
  std::optional<TokenSet> tokens_;
  int keys_ = 0, signings_ = 0;
};

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

}  // namespace
}  // namespace hallmark::tokens
