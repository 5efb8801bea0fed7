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
    current_.Set(view);
    if (!test_) test_.emplace(SelfTest::Parts{*tokens_, current_, [] { return nullptr; }, clock_});
    return test_->Run(FactsOf(token));
  }

 private:
  snapshot::Current current_{std::make_shared<snapshot::Snapshot>()};
  const ManualClock clock_{std::chrono::sys_seconds(std::chrono::seconds(1'790'000'000))};
  std::optional<SelfTest> test_;
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

// It looks like one that is busy: the test's time runs out. Only what has signed before is given the benefit.
TEST_F(SelfTestTest, AModuleThatHangsIsCalledBusyOnlyOnceItHasSigned) {
  tokens::TokenConfig config = Faulty("hsm", "");
  config.sign_timeout = std::chrono::minutes(1);  // or the token is said to be down in between
  Start({config});
  const auto key = MakeKey("hsm", "hsm");
  WriteFaults("hsm", "C_Sign @1 hang");
  const Reading first = Run(key, "hsm");
  EXPECT_EQ(first.level(), kUnknown) << first.message();
  EXPECT_NE(first.message(), kNoKey);
  EXPECT_EQ(Run(key, "hsm").level(), kOk);  // in another session
  WriteFaults("hsm", "C_Sign * hang");
  EXPECT_EQ(Run(key, "hsm").level(), kWarning);
}

}  // namespace
}  // namespace hallmark::health
