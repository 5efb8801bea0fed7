#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <thread>

#include "signerd/dkim/sha256.h"
#include "signerd/tokens/token_set.h"
#include "soft_token.h"

namespace hallmark::tokens {

using namespace std::chrono_literals;

inline const std::filesystem::path kTokend = std::filesystem::path(HALLMARK_BIN_DIR) / "tokend";
inline const std::filesystem::path kFaulty = std::filesystem::path(HALLMARK_BIN_DIR) / "../tests/libfaulty_pkcs11.so";
constexpr auto kPatience = 60s;  // until a test gives up

inline bool Becomes(const std::function<bool()>& condition) {
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
  bool Hangs(const std::string& name) const { return CountLogged(name, "hang") > 0; }
  int Logins(const std::string& name) const { return CountLogged(name, "C_Login"); }
  // How often the module has logged this.
  int CountLogged(const std::string& name, const std::string& what) const {
    int count = 0;
    std::ifstream log(Control(name) + ".log");
    for (std::string line; std::getline(log, line);) count += line == what ? 1 : 0;
    return count;
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
  Bytes NewId() { return {1, 2, 3, static_cast<std::uint8_t>(++keys_)}; }
  std::shared_ptr<const snapshot::Key> MakeKey(const std::string& member, const std::string& token,
                                               link::KeyType type = link::KeyType::kEd25519) {
    return MakeKey(member, token, type, NewId());
  }
  std::shared_ptr<const snapshot::Key> MakeKey(const std::string& member, const std::string& token, link::KeyType type,
                                               const Bytes& id) {
    const auto made = tokens_->Generate(member, type, type == link::KeyType::kRsa ? 2048 : 0, id, "test");
    if (!made) throw std::runtime_error(made.error().message);
    snapshot::Key key = test::SampleKey("example.com", "s");
    key.token = token;
    key.cka_id = id;
    key.public_key = std::make_shared<const dkim::PublicKey>(*dkim::PublicKey::FromSpki(made->spki));
    return std::make_shared<const snapshot::Key>(key);
  }

  using Answer = Result<Made>;
  // Each of another digest.
  std::future<Answer> Sign(const std::shared_ptr<const snapshot::Key>& key, std::string_view only = {},
                           std::chrono::seconds within = 20s) {
    std::vector<Signing> batch;
    auto answer = Put(batch, key, text_, only, within);
    batch.back().digest.fill(static_cast<std::uint8_t>(++signings_));
    tokens_->Sign(std::move(batch));
    return answer;
  }
  // Puts a signing of `text`, which must outlive the answer, into a batch.
  static std::future<Answer> Put(std::vector<Signing>& batch, std::shared_ptr<const snapshot::Key> key,
                                 const std::string& text, std::string_view only = {},
                                 std::chrono::seconds within = 20s) {
    auto promise = std::make_shared<std::promise<Answer>>();
    auto answer = promise->get_future();
    batch.push_back({std::move(key), dkim::Sha256Of(text), &text, std::chrono::steady_clock::now() + within,
                     Flow{"test"}, nullptr, [promise](Answer made) { promise->set_value(std::move(made)); }});
    batch.back().only = only;
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
  const std::string text_ = "what is hashed";
  std::optional<TokenSet> tokens_;
  int keys_ = 0, signings_ = 0;
};

}  // namespace hallmark::tokens
