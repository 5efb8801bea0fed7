#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <sstream>
#include <thread>

#include "firmware/runtime/encoding.h"
#include "tests/hsm/support/environment.h"
#include "tests/hsm/support/tokend_client.h"
#include "tests/hsm/support/verify.h"

namespace hallmark::test {
namespace {

using link::InputKind;
using link::KeyType;
using link::Outcome;
using link::TokenState;
using namespace std::string_view_literals;

const Bytes kId = {0x01, 0x02, 0x03};

TEST(Tokend, IntroducesItself) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  const auto first = tokend.Receive();
  ASSERT_TRUE(first && std::holds_alternative<link::Hello>(*first));
  EXPECT_EQ(std::get<link::Hello>(*first).version, link::kVersion);
  EXPECT_EQ(std::get<link::Hello>(*first).pid, static_cast<std::uint32_t>(tokend.pid()));
  const auto second = tokend.Receive();
  ASSERT_TRUE(second && std::holds_alternative<link::TokenStatus>(*second));
  EXPECT_EQ(std::get<link::TokenStatus>(*second).state, TokenState::kStarting);
  const auto ready = tokend.AwaitState(TokenState::kReady);
  EXPECT_EQ(ready.label, kTokenLabel);
  EXPECT_FALSE(ready.serial.empty());
  EXPECT_EQ(ready.manufacturer, "SoftHSM project");
  EXPECT_EQ(ready.sessions, 2u);
  EXPECT_EQ(ready.wants_data, 0);
  EXPECT_EQ(ready.cannot_make, 0);
  EXPECT_EQ(ready.generation, 1u);
  tokend.Send(link::Ping{77});
  EXPECT_EQ(tokend.Await<link::Pong>().id, 77u);
}

struct KindOfKey {
  const char* name;
  KeyType type;
  unsigned bits;
};
class TokendKey : public testing::TestWithParam<KindOfKey> {};

TEST_P(TokendKey, IsMadeInTheTokenStaysThereAndSigns) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const auto key = tokend.Generate(GetParam().type, GetParam().bits, kId);
  ASSERT_EQ(key.outcome, Outcome::kOk) << key.message;
  EXPECT_EQ(key.type, GetParam().type);
  EXPECT_EQ(key.bits, GetParam().bits);
  EXPECT_EQ(key.sensitive, 1);
  EXPECT_EQ(key.extractable, 0);
  EXPECT_EQ(key.never_extractable, 1);
  tokend.Define(5, key, kId);
  const Bytes digest = Sha256("a message");
  const auto signed_one = tokend.Sign(5, digest);
  ASSERT_EQ(signed_one.outcome, Outcome::kOk);
  EXPECT_TRUE(Verifies(key.spki, digest, signed_one.signature));
  EXPECT_FALSE(Verifies(key.spki, Sha256("another message"), signed_one.signature));

  tokend.Send(link::FindKey{31, kId});
  const auto found = tokend.Await<link::KeyReply>();
  EXPECT_EQ(found.id, 31u);
  EXPECT_EQ(found.outcome, Outcome::kOk);
  EXPECT_EQ(found.spki, key.spki);
  EXPECT_EQ(found.bits, key.bits);
  EXPECT_EQ(found.sensitive, 1);
  EXPECT_EQ(found.extractable, 0);

  const auto twin = tokend.Generate(GetParam().type, GetParam().bits, kId);
  EXPECT_NE(twin.outcome, Outcome::kOk) << "a CKA_ID names one key";
}
INSTANTIATE_TEST_SUITE_P(All, TokendKey,
                         testing::Values(KindOfKey{"Rsa2048", KeyType::kRsa, 2048},
                                         KindOfKey{"Rsa3072", KeyType::kRsa, 3072},
                                         KindOfKey{"Ed25519", KeyType::kEd25519, 256}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_P(TokendKey, IsDestroyedWhereItIsTheOneThatIsMeant) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const auto key = tokend.Generate(GetParam().type, GetParam().bits, kId);
  const auto other = tokend.Generate(GetParam().type, GetParam().bits, {0x09});
  ASSERT_EQ(other.outcome, Outcome::kOk) << other.message;
  tokend.Define(5, key, kId);
  const Bytes digest = Sha256("a message");
  ASSERT_EQ(tokend.Sign(5, digest).outcome, Outcome::kOk);

  EXPECT_EQ(tokend.Destroy(kId, other.spki).outcome, Outcome::kKeyMismatch);
  EXPECT_EQ(tokend.Sign(5, digest).outcome, Outcome::kOk);
  const auto destroyed = tokend.Destroy(kId, key.spki);
  EXPECT_EQ(destroyed.outcome, Outcome::kOk) << destroyed.message;
  EXPECT_EQ(tokend.Sign(5, digest).outcome, Outcome::kKeyMissing);
  EXPECT_EQ(tokend.Destroy(kId, key.spki).outcome, Outcome::kOk) << "what is gone stays gone";

  tokend.Define(6, other, {0x09});
  EXPECT_EQ(tokend.Sign(6, digest).outcome, Outcome::kOk);
  ASSERT_EQ(tokend.Generate(GetParam().type, GetParam().bits, kId).outcome, Outcome::kOk);
  EXPECT_EQ(tokend.Sign(5, digest).outcome, Outcome::kKeyMismatch) << "another pair with the CKA_ID of the old one";
}

TEST(Tokend, FinishesADestructionThatWasCutShort) {
  HsmEnvironment environment;
  TokendClient::Options options;
  options.faulty = true;
  TokendClient tokend(environment, options);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const auto key = tokend.Generate(KeyType::kEd25519, 0, kId);
  const auto other = tokend.Generate(KeyType::kEd25519, 0, {0x09});
  environment.WriteFaults("C_DestroyObject 6 return 0x6\n");  // making each pair took two
  EXPECT_EQ(tokend.Destroy(kId, key.spki).outcome, Outcome::kTokenDown);
  EXPECT_EQ(tokend.Destroy(kId, other.spki).outcome, Outcome::kKeyMismatch) << "the public object is there";
  EXPECT_EQ(tokend.Destroy(kId, key.spki).outcome, Outcome::kOk);
  EXPECT_EQ(tokend.Destroy(kId, other.spki).outcome, Outcome::kOk) << "nothing is left";
}

// Of each thread of a process, its nice value (proc(5), /proc/pid/stat).
std::vector<int> Priorities(pid_t pid) {
  std::vector<int> out;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream file(task.path() / "stat");
    std::string line;
    if (!std::getline(file, line)) continue;  // the thread has ended
    std::istringstream fields(line.substr(line.rfind(')') + 1));
    std::string field;
    for (int i = 3; i <= 19; ++i) fields >> field;
    if (fields) out.push_back(std::stoi(field));
  }
  return out;
}

TEST(Tokend, MakesKeysAtALowPriorityAndNothingElse) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  std::atomic<bool> made{false};
  std::atomic<long> most{0};
  std::thread watcher([&] {
    while (!made) {
      const auto priorities = Priorities(tokend.pid());
      most = std::max<long>(most, std::count(priorities.begin(), priorities.end(), 10));
    }
  });
  auto reply = std::async(std::launch::async, [&] { return tokend.Generate(KeyType::kRsa, 2048, kId); });
  reply.wait();
  made = true;
  watcher.join();
  ASSERT_EQ(reply.get().outcome, Outcome::kOk);
  EXPECT_EQ(most, 1);
  const auto priorities = Priorities(tokend.pid());
  EXPECT_EQ(std::count(priorities.begin(), priorities.end(), 10), 0);
}

// An RSA key takes as long as thousands of signatures: these go on meanwhile, however long it takes.
TEST(Tokend, SignsWhileAKeyIsMade) {
  HsmEnvironment environment;
  TokendClient::Options options;
  options.faulty = true;
  TokendClient tokend(environment, options);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const auto key = tokend.Generate(KeyType::kEd25519, 0, kId);
  tokend.Define(1, key, kId);
  environment.WriteFaults("C_GenerateKeyPair @1 hang\n");
  tokend.Send(link::GenerateKey{100, KeyType::kRsa, 2048, {0x40}, "rsa"});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (environment.CountCalls("hang") == 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_EQ(environment.CountCalls("hang"), 1u);
  const Bytes digest = Sha256("x");
  for (int i = 0; i < 30; ++i) {
    const auto outcome = tokend.Sign(1, digest);
    ASSERT_EQ(outcome.outcome, Outcome::kOk);
    EXPECT_TRUE(Verifies(key.spki, digest, outcome.signature));
  }
}

TEST(Tokend, MakesRsaKeysWhileItSigns) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const auto key = tokend.Generate(KeyType::kEd25519, 0, kId);
  tokend.Define(1, key, kId);
  const Bytes digest = Sha256("x");
  std::uint64_t id = 100;
  for (std::uint8_t i = 0; i < 3; ++i) {
    tokend.Send(link::GenerateKey{id++, link::KeyType::kRsa, 2048, {0x40, i}, "rsa"});
    tokend.Send(link::SignBatch{30000, {{id++, 1, InputKind::kDigest, digest}}});
    for (bool waiting = true; waiting;) {
      const auto frame = tokend.Receive();
      ASSERT_TRUE(frame);
      if (const auto* reply = std::get_if<link::KeyReply>(&*frame)) {
        EXPECT_EQ(reply->outcome, Outcome::kOk) << reply->message;
        EXPECT_TRUE(reply->sensitive && !reply->extractable && reply->never_extractable);
        waiting = false;
      } else if (const auto* results = std::get_if<link::SignResults>(&*frame)) {
        ASSERT_EQ(results->outcomes.front().outcome, Outcome::kOk);
        EXPECT_TRUE(Verifies(key.spki, digest, results->outcomes.front().signature));
        tokend.Send(link::SignBatch{30000, {{id++, 1, InputKind::kDigest, digest}}});
      }
    }
    tokend.Await<link::SignResults>();
  }
}

TEST(Tokend, LetsTheTokenHashForRsa) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const auto key = tokend.Generate(KeyType::kRsa, 2048, kId);
  tokend.Define(1, key, kId);
  const std::string data = "from:a@example.com\r\nsubject:hello\r\n";
  const auto view = AsBytes(data);
  const auto outcome = tokend.Sign({30000, {{1, 1, InputKind::kData, Bytes(view.begin(), view.end())}}}).at(1);
  ASSERT_EQ(outcome.outcome, Outcome::kOk);
  EXPECT_TRUE(Verifies(key.spki, Sha256(data), outcome.signature));
}

// Made by another program, as an HSM's administrator does it. The token signs digests with other keys.
TEST(Tokend, AsksForTheDataWhereAKeyMayNotSignDigests) {
  const HsmEnvironment environment;
  const Ran made = RunProgram({"pkcs11-tool", "--module", environment.softhsm_module(), "--token-label", kTokenLabel,
                               "--login", "--pin", kPin, "--keypairgen", "--key-type", "rsa:2048", "--usage-sign",
                               "--id", "01", "--allowed-mechanisms", "SHA256-RSA-PKCS"},
                              environment.Variables());
  ASSERT_EQ(made.exit_code, 0) << made.output;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  EXPECT_EQ(tokend.AwaitState(TokenState::kReady).wants_data, 0);
  tokend.Send(link::FindKey{1, {0x01}});
  const auto key = tokend.Await<link::KeyReply>();
  ASSERT_EQ(key.outcome, Outcome::kOk) << key.message;
  tokend.Define(1, key, {0x01});
  const std::string data = "from:a@example.com\r\n";
  EXPECT_EQ(tokend.Sign(1, Sha256(data)).outcome, Outcome::kWantsData);
  const auto view = AsBytes(data);
  const auto outcome = tokend.Sign({30000, {{1, 1, InputKind::kData, Bytes(view.begin(), view.end())}}}).at(1);
  ASSERT_EQ(outcome.outcome, Outcome::kOk);
  EXPECT_TRUE(Verifies(key.spki, Sha256(data), outcome.signature));
  EXPECT_EQ(tokend.status()->generation, 1u) << "a question is no trouble";
}

// As a copy in another token of a group may be, while the one that was taken on cannot.
TEST(Tokend, DoesNotSignWithAKeyThatCanLeaveTheToken) {
  const HsmEnvironment environment;
  const Ran made = RunProgram(
      {"pkcs11-tool", "--module", environment.softhsm_module(), "--token-label", kTokenLabel, "--login", "--pin", kPin,
       "--keypairgen", "--key-type", "rsa:2048", "--usage-sign", "--id", "01", "--extractable"},
      environment.Variables());
  ASSERT_EQ(made.exit_code, 0) << made.output;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  tokend.Send(link::FindKey{1, {0x01}});
  const auto key = tokend.Await<link::KeyReply>();
  ASSERT_EQ(key.extractable, 1);
  tokend.Define(1, key, {0x01});
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kKeyMismatch);
}

// RFC 8463 appendix A.3: what the signer of the Ed25519 signature hashes, and its b=.
constexpr char kRfc8463Data[] =
    "from:Joe SixPack <joe@football.example.com>\r\n"
    "to:Suzie Q <suzie@shopping.example.net>\r\n"
    "subject:Is dinner ready?\r\n"
    "date:Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "message-id:<20030712040037.46341.5F8J@football.example.com>\r\n"
    "dkim-signature:v=1; a=ed25519-sha256; c=relaxed/relaxed; d=football.example.com; i=@football.example.com; "
    "q=dns/txt; s=brisbane; t=1528637909; h=from : to : subject : date : message-id : from : subject : date; "
    "bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=";
constexpr char kRfc8463Signature[] =
    "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
// The p= of appendix A.2.
constexpr char kRfc8463PublicKey[] = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

TEST(Tokend, RefusesAKeyThatNoTokenWouldTake) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const Bytes longest(255, 0x42), too_long(256, 0x42);
  const auto find = [&](const Bytes& id) {
    tokend.Send(link::FindKey{1, id});
    return tokend.Await<link::KeyReply>().outcome;
  };
  EXPECT_EQ(find(longest), Outcome::kKeyMissing);
  EXPECT_EQ(find(too_long), Outcome::kInvalid);
  tokend.Send(link::GenerateKey{2, KeyType::kEd25519, 0, kId, std::string(256, 'x')});
  EXPECT_EQ(tokend.Await<link::KeyReply>().outcome, Outcome::kInvalid);
  EXPECT_EQ(tokend.Destroy(kId, Bytes(4097)).outcome, Outcome::kInvalid);
  // Nothing answers a definition: the link ends.
  tokend.Send(link::DefineKey{1, KeyType::kEd25519, too_long, Bytes(44)});
  while (tokend.Receive()) {
  }
  EXPECT_EQ(tokend.Wait(), 0);
}

std::filesystem::path FolderOfTheToken(const HsmEnvironment& environment) {
  return std::filesystem::directory_iterator(environment.directory() / "tokens")->path();
}

// While tokend compares the token's file with its copy nobody else writes it, though tokend opens and closes it again.
TEST(SoftHsmToken, IsLockedWhileItIsMended) {
  const HsmEnvironment environment;
  const auto object = FolderOfTheToken(environment) / "token.object";
  const auto copy = FolderOfTheToken(environment) / "token.object.copy";
  ASSERT_EQ(::mkfifo(copy.c_str(), 0600), 0);
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  FileDescriptor writer;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!writer && std::chrono::steady_clock::now() < deadline) {
    writer = FileDescriptor(::open(copy.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));  // ENXIO until tokend reads it
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_TRUE(writer);
  const FileDescriptor file(::open(object.c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  EXPECT_EQ(::fcntl(file.get(), F_SETLK, &lock), -1);
  writer.Reset();
  tokend.AwaitState(TokenState::kReady);
  EXPECT_TRUE(std::filesystem::is_regular_file(copy));
}

TEST(Tokend, SignsAsRfc8463Shows) {
  const HsmEnvironment environment;
  const Ran import =
      RunProgram({"softhsm2-util", "--import", std::string(HALLMARK_TESTS_DIR) + "/hsm/rfc8463-ed25519.pem", "--token",
                  kTokenLabel, "--label", "brisbane", "--id", "0b01", "--pin", kPin},
                 environment.Variables());
  ASSERT_EQ(import.exit_code, 0) << import.output;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  tokend.Send(link::FindKey{1, {0x0b, 0x01}});
  const auto key = tokend.Await<link::KeyReply>();
  ASSERT_EQ(key.outcome, Outcome::kOk) << key.message;
  ASSERT_GE(key.spki.size(), 32u);
  EXPECT_EQ(Base64Encode(ByteView(key.spki).last(32)), kRfc8463PublicKey);
  tokend.Define(1, key, {0x0b, 0x01});
  const auto outcome = tokend.Sign(1, Sha256(kRfc8463Data));
  ASSERT_EQ(outcome.outcome, Outcome::kOk);
  EXPECT_EQ(Base64Encode(outcome.signature), kRfc8463Signature);
}

TEST(Tokend, AnswersABatchOfAThousandOverSeveralSessions) {
  const HsmEnvironment environment;
  TokendClient::Options options;
  options.sessions = 4;
  TokendClient tokend(environment, options);
  tokend.Await<link::Hello>();
  EXPECT_EQ(tokend.AwaitState(TokenState::kReady).sessions, 4u);
  const auto rsa = tokend.Generate(KeyType::kRsa, 2048, {1});
  const auto ed25519 = tokend.Generate(KeyType::kEd25519, 0, {2});
  tokend.Define(1, rsa, {1});
  tokend.Define(2, ed25519, {2});
  link::SignBatch batch{60000, {}};
  for (std::uint64_t i = 0; i < 1000; ++i) {
    batch.items.push_back(
        {i, static_cast<std::uint32_t>(1 + i % 2), InputKind::kDigest, Sha256("message " + std::to_string(i))});
  }
  const auto outcomes = tokend.Sign(batch);
  ASSERT_EQ(outcomes.size(), 1000u);
  for (const auto& item : batch.items) {
    const auto& outcome = outcomes.at(item.id);
    ASSERT_EQ(outcome.outcome, Outcome::kOk);
    EXPECT_TRUE(Verifies(item.key_ref == 1 ? rsa.spki : ed25519.spki, item.input, outcome.signature)) << item.id;
  }
}

TEST(Tokend, SaysWhatIsWrongWithEachItem) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const auto good = tokend.Generate(KeyType::kEd25519, 0, {1});
  const auto other = tokend.Generate(KeyType::kEd25519, 0, {2});
  tokend.Define(1, good, {1});
  tokend.Define(2, good, {9});   // no such CKA_ID
  tokend.Define(3, other, {1});  // another public part was recorded
  const Bytes digest = Sha256("x");
  const auto outcomes = tokend.Sign({30000,
                                     {{1, 1, InputKind::kDigest, digest},
                                      {2, 2, InputKind::kDigest, digest},
                                      {3, 3, InputKind::kDigest, digest},
                                      {4, 4, InputKind::kDigest, digest},
                                      {5, 1, InputKind::kDigest, Bytes(31, 0)}}});
  EXPECT_EQ(outcomes.at(1).outcome, Outcome::kOk);
  EXPECT_EQ(outcomes.at(2).outcome, Outcome::kKeyMissing);
  EXPECT_EQ(outcomes.at(3).outcome, Outcome::kKeyMismatch);
  EXPECT_EQ(outcomes.at(4).outcome, Outcome::kKeyUndefined);
  EXPECT_EQ(outcomes.at(5).outcome, Outcome::kInvalid);
  EXPECT_TRUE(outcomes.at(3).signature.empty());
}

TEST(Tokend, FindsAKeyThatWasMadeAfterTheFirstTry) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  tokend.Send(link::FindKey{1, kId});
  EXPECT_EQ(tokend.Await<link::KeyReply>().outcome, Outcome::kKeyMissing);
  const auto key = tokend.Generate(KeyType::kEd25519, 0, kId);
  tokend.Define(1, key, kId);
  EXPECT_EQ(tokend.Sign(1, Sha256("x")).outcome, Outcome::kOk);
}

TEST(Tokend, RefusesKeySizesThatAreNotForDkim) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  for (const unsigned bits : {0u, 512u, 1024u, 2047u, 8192u}) {
    EXPECT_EQ(tokend.Generate(KeyType::kRsa, bits, kId).outcome, Outcome::kInvalid) << bits;
  }
}

// SoftHSM 2.6.1 confuses objects when pairs are made while others sign.
TEST(Tokend, MakesKeysWhileItSigns) {
  const HsmEnvironment environment;
  TokendClient::Options options;
  options.sessions = 4;
  TokendClient tokend(environment, options);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const auto key = tokend.Generate(KeyType::kEd25519, 0, kId);
  tokend.Define(1, key, kId);
  link::SignBatch batch{60000, {}};
  const Bytes digest = Sha256("x");
  for (std::uint64_t i = 0; i < 1000; ++i) batch.items.push_back({i, 1, InputKind::kDigest, digest});
  tokend.Send(batch);
  constexpr unsigned kNew = 8;
  for (unsigned i = 0; i < kNew; ++i) {
    tokend.Send(link::GenerateKey{100 + i, KeyType::kEd25519, 0, {static_cast<std::uint8_t>(0x80 + i)}, "new"});
  }
  std::size_t signatures = 0, keys = 0;
  while (signatures < batch.items.size() || keys < kNew) {
    const auto frame = tokend.Receive();
    ASSERT_TRUE(frame);
    if (const auto* reply = std::get_if<link::KeyReply>(&*frame)) {
      EXPECT_EQ(reply->outcome, Outcome::kOk) << reply->message;
      ++keys;
    } else if (const auto* results = std::get_if<link::SignResults>(&*frame)) {
      for (const auto& outcome : results->outcomes) {
        EXPECT_EQ(outcome.outcome, Outcome::kOk) << outcome.token_code;
        EXPECT_TRUE(Verifies(key.spki, digest, outcome.signature));
      }
      signatures += results->outcomes.size();
    }
  }
}

TEST(Tokend, EndsWhenTheLinkCloses) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  tokend.CloseLink();
  EXPECT_EQ(tokend.Wait(), 0);
}

TEST(Tokend, EndsOnWhatIsNoFrame) {
  const HsmEnvironment environment;
  for (const std::string_view octets : {"GET / HTTP/1.1\r\n\r\n"sv, "\0\0\0\0\xff"sv}) {  // too long; of no type
    TokendClient tokend(environment);
    tokend.AwaitState(TokenState::kReady);
    tokend.SendOctets(AsBytes(octets));
    while (tokend.Receive()) {
    }
    EXPECT_EQ(tokend.Wait(), 0);
  }
}

TEST(Tokend, PassesByAFrameThatOnlyItSends) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.Send(link::Hello{});
  tokend.Send(link::Ping{1});
  EXPECT_EQ(tokend.Await<link::Pong>().id, 1u);
}

TEST(Tokend, LeavesNothingToOthersInTheSystem) {
  const HsmEnvironment environment;
  TokendClient tokend(environment);
  tokend.Await<link::Hello>();
  tokend.AwaitState(TokenState::kReady);
  const std::string process = "/proc/" + std::to_string(tokend.pid());
  std::ifstream status(process + "/status"), limits(process + "/limits");
  const std::string facts{std::istreambuf_iterator<char>(status), {}};
  EXPECT_NE(facts.find("NoNewPrivs:\t1"), std::string::npos);
  std::string line;
  while (std::getline(limits, line) && !line.starts_with("Max core file size")) {
  }
  EXPECT_NE(line.find(" 0 "), std::string::npos) << line;
  // Not dumpable: its files in /proc belong to root, its environment and memory cannot be read by its user.
  std::ifstream command(process + "/cmdline");
  const std::string arguments{std::istreambuf_iterator<char>(command), {}};
  EXPECT_EQ(arguments.find(kPin), std::string::npos);
}

TEST(Tokend, InitializesATokenAndSaysItsSerial) {
  HsmEnvironment environment(false);
  const std::string output = environment.InitToken("fresh");
  EXPECT_EQ(output.find("{\"label\":\"fresh\",\"serial\":\""), 0u) << output;
  const std::string serial = output.substr(27, output.find('"', 27) - 27);
  TokendClient::Options options;
  options.uri = "pkcs11:serial=" + serial + "?pin-source=file:" + (environment.directory() / "pin").string();
  TokendClient tokend(environment, options);
  tokend.Await<link::Hello>();
  EXPECT_EQ(tokend.AwaitState(TokenState::kReady).serial, serial);
}

TEST(Tokend, TriesATypedPinOnceAndSaysWhetherItIsRight) {
  HsmEnvironment environment;
  const auto check = [&](const std::string& uri) {
    return RunProgram(
        {TokendProgram().string(), "check-token", "--module", environment.faulty_module().string(), "--token-uri", uri},
        environment.Variables());
  };
  EXPECT_EQ(check(environment.uri()).exit_code, 0);
  const std::size_t before = environment.CountCalls("C_Login");
  environment.WritePin("wrong-1");
  const Ran refused = check(environment.uri());
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_THAT(refused.output, testing::HasSubstr("CKR_PIN_INCORRECT"));
  EXPECT_THAT(refused.output, testing::Not(testing::HasSubstr("wrong-1")));
  EXPECT_EQ(environment.CountCalls("C_Login"), before + 1);
  const Ran absent = check("pkcs11:token=other?pin-source=file:" + (environment.directory() / "pin").string());
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.output, testing::HasSubstr("the module has no token"));
  EXPECT_EQ(environment.CountCalls("C_Login"), before + 1);
}

struct Usage {
  const char* name;
  std::vector<std::string> arguments;
  int exit_code;
};
class TokendUsage : public testing::TestWithParam<Usage> {};

TEST_P(TokendUsage, ExitsWithTheRightCode) {
  const HsmEnvironment environment(false);
  std::vector<std::string> command = {TokendProgram().string()};
  command.insert(command.end(), GetParam().arguments.begin(), GetParam().arguments.end());
  const Ran run = RunProgram(command, environment.Variables());
  EXPECT_EQ(run.exit_code, GetParam().exit_code) << run.output;
  EXPECT_EQ(run.output.find("1234"), std::string::npos) << "a PIN is never repeated";
}
const Usage kUsages[] = {
    {"NoCommand", {}, 2},
    {"UnknownOption", {"serve", "--pin", "1234"}, 2},
    {"Help", {"--help"}, 0},
    {"Version", {"--version"}, 0},
    {"FdIsNoSocket",
     {"serve", "--fd", "0", "--module", "x.so", "--token-uri", "pkcs11:token=a?pin-source=file:/p", "--sessions", "1"},
     1},
    {"PinInTheUri",
     {"serve", "--fd", "3", "--module", "x.so", "--token-uri", "pkcs11:token=a?pin-value=1234", "--sessions", "1"},
     1},
    {"InitWithoutPinFile",
     {"init-token", "--module", "x.so", "--token-label", "a", "--pin-source", "/nonexistent", "--so-pin-source",
      "/nonexistent"},
     1},
};
INSTANTIATE_TEST_SUITE_P(All, TokendUsage, testing::ValuesIn(kUsages),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace hallmark::test
