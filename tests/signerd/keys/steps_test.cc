#include "signerd/keys/steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "key_world.h"
#include "signerd/dkim/key_record.h"

namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;
using snapshot::KeyState;
using snapshot::RecordState;
using std::chrono::days;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Steps : public testing::Test {
 protected:
  static constexpr const char* kDomain = test::KeyWorld::kDomain;

  // The first keys sign, and their records are settled.
  void Begin() {
    ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
    world_.Live(1h + 1h);
    first_ = world_.In(KeyState::kActive);
    ASSERT_THAT(first_, SizeIs(2)) << world_.rotator->View(kDomain)->trouble;
  }
  // A successor whose keys are READY and cannot sign yet.
  std::vector<std::string> BringToReady(bool emergency = false) {
    EXPECT_TRUE(world_.rotator->Request(kDomain, emergency, "alice"));
    world_.Tick();
    auto next = world_.In(KeyState::kPublished);
    world_.tokens.unable = {next.begin(), next.end()};
    world_.Live(1h + 1h);
    EXPECT_THAT(world_.In(KeyState::kReady), SizeIs(2));
    return next;
  }
  std::string Trouble() { return world_.rotator->View(kDomain)->trouble; }
  std::string Publish(const std::string& selector) {
    return world_.dns.records[test::KeyWorld::Name(selector)] =
               dkim::KeyRecordValue(*world_.Key(selector).key.public_key);
  }

  test::KeyWorld world_;
  std::vector<std::string> first_;
};

// Its record goes, whatever the operator would like it to be.
TEST_F(Steps, AKeyThatWasGivenUpIsNotActivated) {
  Begin();
  const auto next = BringToReady();
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  world_.tokens.unable.clear();
  const auto refused = world_.manager->Activate(kDomain, next[0], "alice");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kStateConflict);
  EXPECT_THAT(refused.error().message, HasSubstr("given up"));
  ASSERT_TRUE(world_.rotator->Resume(kDomain, "alice"));
  world_.Live(1h);
  EXPECT_EQ(world_.In(KeyState::kActive), first_);
  EXPECT_THAT(world_.In(KeyState::kWithdrawn), SizeIs(2));
  for (const auto& selector : first_) EXPECT_TRUE(world_.dns.records.contains(test::KeyWorld::Name(selector)));
}

TEST_F(Steps, AKeyThatMayBeKnownToOthersIsNotActivatedAgain) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(kDomain, true, "alice"));
  world_.Live(10min);
  ASSERT_EQ(world_.In(KeyState::kRetiring), first_);
  EXPECT_THAT(world_.manager->Activate(kDomain, first_[0], "alice").error().message, HasSubstr("compromised"));
  ASSERT_TRUE(world_.rotator->Condemn(kDomain, "bob"));
  EXPECT_EQ(world_.manager->Activate(kDomain, first_[0], "alice").error().reason, Reason::kStateConflict);
}

TEST_F(Steps, AStepThatTheTableRefusesTouchesNothingOutside) {
  Begin();
  const auto life = world_.Life();
  const auto records = world_.dns.records;
  const auto asked = world_.dns.publishers.size();
  SeenRecords seen;
  const RotationParts parts{*world_.store,
                            world_.tokens,
                            world_.dns,
                            world_.dns,
                            world_.clock,
                            [] { return Ok(); },
                            [] { return Ok(); },
                            [](const store::KeyEvent&, const std::string&) { return Ok(); },
                            [](std::chrono::sys_seconds) { return Ok(); }};
  StepMaker maker(parts, seen, life, world_.policy);
  for (const Work work : {Work::kPublish, Work::kRevoke, Work::kWithdraw, Work::kDestroy}) {
    const Status refused = maker.Make({work, first_[0], KeyState::kWithdrawn, world_.clock.Now(), ""});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::kStateConflict);
  }
  EXPECT_EQ(world_.dns.publishers.size(), asked);
  EXPECT_EQ(world_.dns.records, records);
  EXPECT_FALSE(*world_.store->IsPlanned(kDomain, first_[0], "WITHDRAWN"));
}

TEST_F(Steps, AKeyThatWasActivatedByHandStaysWithItsSet) {
  Begin();
  const auto next = BringToReady();
  world_.tokens.unable.clear();
  ASSERT_TRUE(world_.manager->Activate(kDomain, next[0], "alice"));
  world_.Live(1h);
  EXPECT_THAT(world_.In(KeyState::kActive), testing::UnorderedElementsAreArray(next));
  EXPECT_THAT(world_.In(KeyState::kRetiring), testing::UnorderedElementsAreArray(first_));
}

TEST_F(Steps, AKeyMadeByHandIsRevokedInDnsAndWithdrawnFromIt) {
  ASSERT_TRUE(world_.manager->Generate(kDomain, "byhand", {dkim::Algorithm::kEd25519Sha256, 0}, ""));
  Publish("byhand");
  ASSERT_TRUE(world_.manager->Activate(kDomain, "byhand", "alice"));
  ASSERT_TRUE(world_.manager->Retire(kDomain, "byhand", true, "alice"));
  ASSERT_TRUE(world_.manager->Revoke(kDomain, "byhand", "alice"));
  world_.Live(1h);
  EXPECT_EQ(world_.dns.records[test::KeyWorld::Name("byhand")],
            dkim::RevokedKeyRecordValue(*world_.Key("byhand").key.public_key));
  world_.Live(days(31));
  EXPECT_EQ(world_.Key("byhand").key.state, KeyState::kWithdrawn);
  EXPECT_EQ(world_.Key("byhand").key.record, RecordState::kAbsent);
  EXPECT_THAT(world_.dns.records, IsEmpty());
}

// Nobody but a person takes it away, and until then it is there.
TEST_F(Steps, ARecordOfAPersonIsAbsentWhenEveryServerSaysSo) {
  world_.policy.publisher = kManual;
  world_.SetPolicy();
  ASSERT_TRUE(world_.manager->Generate(kDomain, "byhand", {dkim::Algorithm::kEd25519Sha256, 0}, ""));
  Publish("byhand");
  ASSERT_TRUE(world_.manager->Activate(kDomain, "byhand", "alice"));
  ASSERT_TRUE(world_.manager->Retire(kDomain, "byhand", true, "alice"));
  ASSERT_TRUE(world_.manager->Revoke(kDomain, "byhand", "alice"));
  world_.Live(days(62));
  EXPECT_EQ(world_.Key("byhand").key.state, KeyState::kWithdrawn);
  EXPECT_EQ(world_.Key("byhand").key.record, RecordState::kUnretentive);
  EXPECT_THAT(world_.rotator->View(kDomain)->trouble, HasSubstr("byhand"));
  world_.dns.records = {{test::KeyWorld::Name("byhand"), "of someone else"}};
  world_.dns.silent = {"ns2"};
  world_.Live(1h);
  EXPECT_EQ(world_.Key("byhand").key.record, RecordState::kUnretentive) << "ns2 may still have it";
  world_.dns.silent.clear();
  world_.Live(1h);
  EXPECT_EQ(world_.Key("byhand").key.record, RecordState::kAbsent);
}

TEST_F(Steps, ARecordIsNotLeftAtAPlaceThatAPolicyNoLongerNames) {
  world_.dns.dies_when_put = true;
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();  // dies when the record is put, and its key is not PUBLISHED yet
  ASSERT_THAT(world_.dns.records, SizeIs(1));
  const std::string old = world_.dns.records.begin()->first;
  world_.policy.publisher = "other";
  world_.policy.delegation = "dkim.example.net";
  world_.SetPolicy();
  world_.Tick();
  EXPECT_FALSE(world_.dns.records.contains(old)) << old;
  EXPECT_THAT(world_.dns.records, SizeIs(2));
  EXPECT_THAT(world_.dns.publishers, testing::Contains("main").Times(2));
}

TEST_F(Steps, APublisherThatIsNotConfiguredIsInNoWayOfARollback) {
  world_.tokens.dies_when_made = true;
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();
  world_.policy.publisher = "gone";
  world_.SetPolicy();
  world_.Tick();
  ASSERT_THAT(world_.In(KeyState::kGenerated), SizeIs(2));
  EXPECT_THAT(world_.rotator->View(kDomain)->trouble, HasSubstr("publisher gone"));
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  ASSERT_TRUE(world_.rotator->Resume(kDomain, "alice"));
  world_.Live(1h);
  EXPECT_THAT(world_.In(KeyState::kWithdrawn), SizeIs(2));
  EXPECT_EQ(world_.rotator->View(kDomain)->trouble, "");
}

// Their publisher leaves the configuration; the policy names another.
TEST_F(Steps, KeysWhosePublisherIsGoneAreRevokedAndWithdrawnByThePolicys) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Live(2h);
  ASSERT_EQ(world_.In(KeyState::kRetiring), first_);
  world_.dns.unknown = {"main"};
  world_.policy.publisher = "other";
  world_.SetPolicy();
  world_.dns.publishers.clear();
  world_.Live(days(8));
  ASSERT_EQ(world_.In(KeyState::kRevoked), first_) << Trouble();
  for (const auto& selector : first_) {
    EXPECT_EQ(world_.dns.records[test::KeyWorld::Name(selector)],
              dkim::RevokedKeyRecordValue(*world_.Key(selector).key.public_key));
  }
  // And the next one goes while they are REVOKED.
  world_.dns.unknown = {"main", "other"};
  world_.policy.publisher = "third";
  world_.SetPolicy();
  world_.Live(days(31));
  ASSERT_EQ(world_.In(KeyState::kWithdrawn), first_) << Trouble();
  for (const auto& selector : first_) EXPECT_FALSE(world_.dns.records.contains(test::KeyWorld::Name(selector)));
  world_.Live(days(31));
  EXPECT_EQ(world_.Key(first_[0]).key.state, KeyState::kDestroyed) << Trouble();
  EXPECT_EQ(Trouble(), "");
}

TEST_F(Steps, ASuccessorWhosePublisherIsGoneIsWithdrawnByThePolicys) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();
  const auto next = world_.In(KeyState::kPublished);
  ASSERT_THAT(next, SizeIs(2));
  world_.dns.unknown = {"main"};
  world_.policy.publisher = "other";
  world_.SetPolicy();
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  ASSERT_TRUE(world_.rotator->Resume(kDomain, "alice"));
  world_.Live(1h);
  EXPECT_EQ(world_.In(KeyState::kWithdrawn), next) << Trouble();
  EXPECT_THAT(world_.dns.records, SizeIs(2)) << "those of the keys that sign";
}

TEST_F(Steps, ALostRecordWhosePublisherIsGoneIsPutRightByThePolicys) {
  Begin();
  world_.dns.unknown = {"main"};
  world_.policy.publisher = "other";
  world_.SetPolicy();
  world_.dns.records.erase(test::KeyWorld::Name(first_[0]));
  world_.Live(2h);
  EXPECT_TRUE(world_.dns.records.contains(test::KeyWorld::Name(first_[0]))) << Trouble();
  EXPECT_EQ(world_.Key(first_[0]).publisher, "other");
  EXPECT_EQ(Trouble(), "");
}

// As with manual: by its policy, or where the policy still names what is gone.
TEST_F(Steps, WhereNoPublisherIsLeftAPersonEmptiesTheRecord) {
  for (const char* publisher : {"main", "manual"}) {
    SCOPED_TRACE(publisher);
    ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
    world_.Live(2h);
    ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
    world_.Live(2h);
    const auto retiring = world_.In(KeyState::kRetiring);
    ASSERT_THAT(retiring, Not(IsEmpty())) << Trouble();
    world_.dns.unknown = {"main"};
    world_.policy.publisher = publisher;
    world_.SetPolicy();
    world_.Live(days(8));
    for (const auto& selector : retiring) {
      EXPECT_EQ(world_.Key(selector).key.state, KeyState::kRevoked) << Trouble();
      EXPECT_EQ(world_.Key(selector).key.record, RecordState::kUnretentive);
      EXPECT_EQ(world_.Key(selector).publisher, publisher);
    }
    EXPECT_THAT(Trouble(), HasSubstr(retiring[0]));
    const bool names_it = Trouble().find("publisher main is not in the configuration") != std::string::npos;
    EXPECT_EQ(names_it, publisher == std::string("main")) << Trouble();
    for (const auto& selector : retiring) {
      world_.dns.records[test::KeyWorld::Name(selector)] =
          dkim::RevokedKeyRecordValue(*world_.Key(selector).key.public_key);
    }
    world_.Live(1h);
    EXPECT_EQ(Trouble(), "");
    // For the next.
    world_.dns.unknown.clear();
    world_.policy.publisher = "main";
    world_.SetPolicy();
  }
}

TEST_F(Steps, AKeyMadeByHandIsRevokedThoughItsPolicysPublisherIsGone) {
  ASSERT_TRUE(world_.manager->Generate(kDomain, "byhand", {dkim::Algorithm::kEd25519Sha256, 0}, ""));
  ASSERT_TRUE(world_.manager->Activate(kDomain, "byhand", "alice"));
  ASSERT_TRUE(world_.manager->Retire(kDomain, "byhand", true, "alice"));
  world_.dns.unknown = {"main"};
  world_.Live(days(8));
  EXPECT_EQ(world_.Key("byhand").key.state, KeyState::kRevoked) << Trouble();
  EXPECT_EQ(world_.Key("byhand").publisher, "main") << "for when it is there again";
}

TEST_F(Steps, AServerThatIsSilentAtTheActivationBeginsNoNewWait) {
  Begin();
  const auto next = BringToReady();
  world_.tokens.unable.clear();
  world_.dns.silent = {"ns2"};
  const auto since = world_.Key(next[0]).visible_since;
  world_.Live(15min);
  EXPECT_EQ(world_.In(KeyState::kReady), next);
  EXPECT_EQ(world_.Key(next[0]).visible_since, since);
  EXPECT_THAT(world_.rotator->View(kDomain)->trouble, HasSubstr("ns2"));
  world_.dns.silent.clear();
  world_.Live(11min);
  EXPECT_EQ(world_.In(KeyState::kActive), next);
}

TEST_F(Steps, AServerThatSaysSomethingElseAtTheActivationDoes) {
  Begin();
  const auto next = BringToReady();
  world_.tokens.unable.clear();
  world_.dns.records.erase(test::KeyWorld::Name(next[0]));
  world_.Live(20min);
  EXPECT_EQ(world_.In(KeyState::kPublished), std::vector{next[0]});
  EXPECT_EQ(world_.In(KeyState::kActive), first_);
  world_.Live(2h);
  EXPECT_EQ(world_.In(KeyState::kActive), next);
}

// A packet that was lost is not an hour's trouble.
TEST_F(Steps, ARecordThatCouldNotBeSeenIsLookedAtAgainSoon) {
  Begin();
  world_.Live(3h);  // its records are looked at once an hour
  world_.dns.silent = {"ns1"};
  auto next = world_.clock.Now();
  for (int looks = 0; looks < 10 && world_.rotator->Troubles(0s).empty(); ++looks) {
    world_.clock.Set(next);
    next = world_.Tick();
  }
  EXPECT_THAT(world_.rotator->View(kDomain)->trouble, HasSubstr("ns1"));
  EXPECT_LE(next - world_.clock.Now(), 10min);
  // A look for another reason, before that, does not make it forgotten.
  world_.Tick();
  EXPECT_THAT(world_.rotator->View(kDomain)->trouble, HasSubstr("ns1"));
  world_.dns.silent.clear();
  world_.Live(11min);
  EXPECT_THAT(world_.rotator->Troubles(0s), IsEmpty());
  world_.dns.silent = {"ns1"};
  world_.Live(3h);
  EXPECT_THAT(world_.rotator->Troubles(1h), SizeIs(1));
}

TEST_F(Steps, APairThatATokenMayHaveIsNotMadeTwiceUnderOneId) {
  world_.policy.token = "group";
  world_.SetPolicy();
  world_.tokens.dies_when_made = true;
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();  // dies when the first has a pair that is not recorded
  ASSERT_THAT(world_.tokens.pairs, SizeIs(1));
  world_.tokens.silent = {"one"};
  world_.Tick();
  EXPECT_THAT(world_.Life().keys, SizeIs(2));
  std::set<Bytes> ids;
  for (const auto& [where, pair] : world_.tokens.pairs) {
    EXPECT_TRUE(ids.insert(where.second).second) << "two pairs under one CKA_ID";
  }
  EXPECT_THAT(ids, SizeIs(3));
  const auto events = *world_.store->ListKeyEvents(kDomain, "", 0, 100);
  const auto anew =
      std::find_if(events.begin(), events.end(), [](const auto& event) { return event.to == "PLANNED_ANEW"; });
  ASSERT_NE(anew, events.end());
  EXPECT_THAT(anew->note, HasSubstr("token one"));
}

TEST_F(Steps, HalfAPairThatACrashLeftIsMadeAnewUnderAnotherId) {
  world_.tokens.dies_when_made = true;
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();  // dies when the token has the pair
  ASSERT_THAT(world_.tokens.pairs, SizeIs(1));
  const Bytes half = world_.tokens.pairs.begin()->first.second;
  world_.tokens.halves = {half};
  world_.Tick();
  EXPECT_THAT(world_.rotator->View(kDomain)->trouble, IsEmpty());
  EXPECT_THAT(world_.Life().keys, SizeIs(2));
  for (const auto& key : world_.Life().keys) EXPECT_NE(key.key.cka_id, half);
  EXPECT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
}

TEST_F(Steps, APairThatWasMadeBeforeACrashIsTakenUp) {
  world_.policy.token = "group";
  world_.SetPolicy();
  world_.tokens.dies_when_made = true;
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();
  world_.Tick();
  EXPECT_THAT(world_.Life().keys, SizeIs(2));
  EXPECT_THAT(world_.tokens.pairs, SizeIs(2));
}

}  // namespace
}  // namespace hallmark::keys
