#include "signerd/keys/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sample.h"
#include "signerd/keys/rotation_policy.h"

namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;
using snapshot::KeyState;
using std::chrono::days;
using std::chrono::sys_seconds;
using testing::HasSubstr;

constexpr sys_seconds kNow{std::chrono::seconds(1'769'860'800)};

store::KeyLife Key(const std::string& selector, KeyState state, std::int64_t set, sys_seconds since = kNow) {
  store::KeyLife life;
  life.key = test::SampleKey("example.com", selector);
  life.key.state = state;
  life.key.state_since = since;
  life.set = set;
  return life;
}

store::DomainLife Domain(std::vector<store::KeyLife> keys) {
  store::DomainLife life;
  life.domain = "example.com";
  life.keys = std::move(keys);
  return life;
}

const Step* Find(const std::vector<Step>& steps, Work work) {
  for (const Step& step : steps) {
    if (step.work == work) return &step;
  }
  return nullptr;
}

const store::RotationPolicy kPolicy;

TEST(Plan, ADomainWithoutKeysWaitsUntilItIsAsked) {
  auto life = Domain({});
  EXPECT_TRUE(Plan(life, kPolicy, kNow).empty());
  life.rotation.wanted = store::Wanted::kRotation;
  life.rotation.wanted_since = kNow;
  life.rotation.wanted_by = "alice";
  const auto steps = Plan(life, kPolicy, kNow);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].work, Work::kPlan);
  EXPECT_EQ(steps[0].due, kNow);
  EXPECT_THAT(steps[0].waits_for, HasSubstr("alice"));
}

TEST(Plan, ARotationBeginsEarlyEnoughForTheLifetime) {
  const auto life = Domain({Key("a", KeyState::kActive, 1), Key("b", KeyState::kActive, 1, kNow + 1h)});
  const auto steps = Plan(life, kPolicy, kNow);
  const Step* begin = Find(steps, Work::kPlan);
  ASSERT_NE(begin, nullptr);
  EXPECT_EQ(begin->due, kNow + days(90) - 1h - 2 * 1h);
  store::RotationPolicy on_demand;
  on_demand.on_demand = true;
  EXPECT_EQ(Find(Plan(life, on_demand, kNow), Work::kPlan), nullptr);
}

TEST(Plan, AnExposedKeyIsReplacedAtOnce) {
  auto key = Key("imported", KeyState::kActive, 0);
  key.key.exposed = true;
  const auto steps = Plan(Domain({key}), kPolicy, kNow);
  ASSERT_NE(Find(steps, Work::kPlan), nullptr);
  EXPECT_EQ(Find(steps, Work::kPlan)->due, kNow);
}

TEST(Plan, OneRotationAtATime) {
  for (const KeyState state : {KeyState::kGenerated, KeyState::kPublished, KeyState::kReady}) {
    auto life = Domain({Key("old", KeyState::kActive, 1, kNow - days(200)), Key("new", state, 2)});
    life.rotation.wanted = store::Wanted::kRotation;
    EXPECT_EQ(Find(Plan(life, kPolicy, kNow), Work::kPlan), nullptr) << static_cast<int>(state);
    EXPECT_EQ(SetUnderWay(life), 2);
  }
  auto planned = Domain({Key("old", KeyState::kActive, 1, kNow - days(200))});
  planned.planned.push_back({"new", "softhsm", {1}, {}, 2});
  EXPECT_EQ(Find(Plan(planned, kPolicy, kNow), Work::kPlan), nullptr);
}

TEST(Plan, KeysMadeByHandAreLeftAloneUntilTheySign) {
  const auto life = Domain({Key("byhand", KeyState::kGenerated, 0)});
  EXPECT_TRUE(Plan(life, kPolicy, kNow).empty());
  EXPECT_EQ(SetUnderWay(life), std::nullopt);
}

TEST(Plan, TheWaitIsTheLongestTtlTheNegativeTtlAndThePolicys) {
  auto key = Key("a", KeyState::kPublished, 1);
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kObserve)->due, kNow) << "not seen yet: look now";
  key.visible_since = kNow;
  key.longest_ttl = 7200s;
  key.negative_ttl = 900s;
  const auto steps = Plan(Domain({key}), kPolicy, kNow);
  EXPECT_EQ(Find(steps, Work::kObserve)->due, kNow + 7200s + 900s + 1h);
  auto hurried = Domain({key});
  hurried.rotation.emergency = true;
  EXPECT_EQ(Find(Plan(hurried, kPolicy, kNow), Work::kObserve)->due, kNow);
}

TEST(Plan, ASetSignsWholeOrNotAtAll) {
  auto life = Domain({Key("r", KeyState::kReady, 2), Key("e", KeyState::kPublished, 2)});
  EXPECT_EQ(Find(Plan(life, kPolicy, kNow), Work::kActivate), nullptr);
  life.keys[1].key.state = KeyState::kReady;
  ASSERT_NE(Find(Plan(life, kPolicy, kNow), Work::kActivate), nullptr);
  life.planned.push_back({"third", "softhsm", {1}, {}, 2});
  EXPECT_EQ(Find(Plan(life, kPolicy, kNow), Work::kActivate), nullptr);
}

TEST(Plan, AnOldKeyGoesStepByStep) {
  auto key = Key("a", KeyState::kRetiring, 1);
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kRevoke)->due, kNow + days(7));
  key.fate = store::Fate::kSuspected;
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kRevoke)->due, kNow + days(7)) << "one person said so";
  key.fate = store::Fate::kCompromised;
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kRevoke)->due, kNow);
  key.key.state = KeyState::kRevoked;
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kWithdraw)->due, kNow + days(30));
  key.key.state = KeyState::kWithdrawn;
  key.key.record = snapshot::RecordState::kUnretentive;
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kDestroy)->due, kNever) << "its record is still seen";
  key.key.record = snapshot::RecordState::kAbsent;
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kDestroy)->due, kNow + days(30));
}

TEST(Plan, WhatWasGivenUpIsNotRevokedButTakenAway) {
  for (const KeyState state : {KeyState::kGenerated, KeyState::kPublished, KeyState::kReady}) {
    auto key = Key("a", state, 2);
    key.fate = store::Fate::kAbandoned;
    const auto steps = Plan(Domain({key}), kPolicy, kNow);
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].work, Work::kWithdraw);
    EXPECT_EQ(SetUnderWay(Domain({key})), std::nullopt);
  }
}

// An older Hallmark let an operator activate it.
TEST(Plan, TheRecordOfAKeyThatSignsStaysThoughItWasGivenUp) {
  auto key = Key("a", KeyState::kActive, 2);
  key.fate = store::Fate::kAbandoned;
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kWithdraw), nullptr);
  key.key.state = KeyState::kRetiring;
  EXPECT_EQ(Find(Plan(Domain({key}), kPolicy, kNow), Work::kWithdraw), nullptr);
  EXPECT_NE(Find(Plan(Domain({key}), kPolicy, kNow), Work::kRevoke), nullptr);
}

struct PolicyCase {
  const char* name;
  void (*change)(store::RotationPolicy&);
  const char* says;  // empty: it is good
};

class Policies : public testing::TestWithParam<PolicyCase> {};

TEST_P(Policies, AreChecked) {
  store::RotationPolicy policy;
  GetParam().change(policy);
  const Status valid = ValidatePolicy(policy);
  if (*GetParam().says == '\0') {
    EXPECT_TRUE(valid) << valid.error().message;
  } else {
    ASSERT_FALSE(valid);
    EXPECT_THAT(valid.error().message, HasSubstr(GetParam().says));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Policies,
    testing::Values(PolicyCase{"BuiltIn", [](auto&) {}, ""},
                    PolicyCase{"RsaAlone", [](auto& p) { p.algorithms.pop_back(); }, ""},
                    PolicyCase{"Ed25519Alone", [](auto& p) { p.algorithms.erase(p.algorithms.begin()); }, "RSA"},
                    PolicyCase{"TwoRsa", [](auto& p) { p.algorithms[1] = p.algorithms[0]; }, "algorithms"},
                    PolicyCase{"RetireTooShort", [](auto& p) { p.retire = 7 * 24h - 1s; }, "retire_seconds"},
                    PolicyCase{"LifetimeTooShort", [](auto& p) { p.lifetime = 1h; }, "lifetime_seconds"},
                    PolicyCase{"TtlTooLong", [](auto& p) { p.record_ttl = days(8); }, "record_ttl_seconds"},
                    PolicyCase{"SelectorWithoutWhatDiffers", [](auto& p) { p.selector = "s{date}"; }, "selector"},
                    PolicyCase{"SelectorThatIsNone", [](auto& p) { p.selector = "{letter} x"; }, "selector"},
                    PolicyCase{"SelectorOfTwoLabels", [](auto& p) { p.selector = "{date}.{letter}"; }, ""},
                    PolicyCase{"DelegationThatIsNone", [](auto& p) { p.delegation = "a..b"; }, "delegation"}),
    [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace hallmark::keys
