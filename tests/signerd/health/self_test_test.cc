#include "signerd/health/self_test.h"

#include "tokens/token_set_fixture.h"

namespace hallmark::health {
namespace {

class SelfTestTest : public tokens::TokenSetTest {
 protected:
  // Of the one key of the domain.
  Reading Run(const std::shared_ptr<const snapshot::Key>& key, const std::string& token) {
    auto view = std::make_shared<snapshot::Snapshot>();
    view->domains["example.com"].active_keys = {key};
    const snapshot::Current current(view);
    const ManualClock clock{std::chrono::sys_seconds(std::chrono::seconds(1'790'000'000))};
    SelfTest test({*tokens_, current, [] { return nullptr; }, clock});
    return test.Run(FactsOf(token));
  }
};

// What the test finds wrong no message will: a token that fails its test gets none.
TEST_F(SelfTestTest, ATokenWhoseSignaturesAreWrongIsStartedAnewWithoutAnyMail) {
  Start({Faulty("hsm", "")});
  const auto key = MakeKey("hsm", "hsm");
  EXPECT_EQ(Run(key, "hsm").level(), kOk);
  WriteFaults("hsm", "C_Sign * corrupt until C_GetFunctionList");
  EXPECT_EQ(Run(key, "hsm").level(), kFailed);
  EXPECT_TRUE(tokens::Becomes([&] { return Run(key, "hsm").level() == kOk; }));
  EXPECT_EQ(FactsOf("hsm").starts, 2);
}

TEST_F(SelfTestTest, AMemberWhoseSignaturesAreWrongIsLetBackWhenItIsMended) {
  Start({Faulty("a", "hsm"), Faulty("b", "hsm")});
  const auto key = MakeKey("a", "hsm");
  WriteFaults("a", "C_Sign * corrupt until C_GetFunctionList");
  EXPECT_EQ(Run(key, "a").level(), kFailed);
  EXPECT_TRUE(tokens::Becomes([&] { return Run(key, "a").level() == kOk && !FactsOf("a").sick; }));
  EXPECT_EQ(FactsOf("a").starts, 2);
  EXPECT_EQ(FactsOf("b").starts, 1);
}

}  // namespace
}  // namespace hallmark::health
