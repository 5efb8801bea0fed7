#include "signerd/keys/rotator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "rotations.h"

// What must not harm a domain: a clock that is wrong, tokens that are away, records that are gone, and hasty people.
namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;
using snapshot::KeyState;
using snapshot::RecordState;
using std::chrono::days;
using test::KeyWorld;
using test::Rotations;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(Rotations, AClockThatIsAheadRevokesNothing) {
  Begin();
  Replace(false);
  const auto right = world_.clock.Now();
  Jump(days(40));
  world_.Live(1h);
  EXPECT_EQ(world_.In(KeyState::kRetiring), first_);
  for (const auto& selector : first_) EXPECT_EQ(RecordOf(selector), KeyRecordOf(selector));
  EXPECT_THAT(Trouble(), HasSubstr("the clock says 2031"));
  // Neither is a record removed, nor a pair destroyed.
  PutRight(right + 1h);
  world_.Live(days(8));
  ASSERT_EQ(world_.In(KeyState::kRevoked), first_) << Trouble();
  EXPECT_EQ(Trouble(), "");
  for (const KeyState state : {KeyState::kRevoked, KeyState::kWithdrawn}) {
    const auto before = world_.clock.Now();
    Jump(days(35));
    world_.Live(1h);
    EXPECT_EQ(world_.In(state), first_);
    PutRight(before);
    world_.Live(days(31));
  }
  EXPECT_THAT(world_.Life().keys, SizeIs(2)) << "in its time all is done";
}

TEST_F(Rotations, AClockThatIsAheadCutsNoWaitForCaches) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Live(5min);
  ASSERT_THAT(world_.In(KeyState::kPublished), SizeIs(2));
  Jump(days(2));
  world_.Live(1h);
  EXPECT_EQ(world_.In(KeyState::kActive), first_);
  EXPECT_THAT(world_.In(KeyState::kPublished), SizeIs(2));
  // Who cannot wait does not have to.
  ASSERT_TRUE(world_.rotator->Request(kDomain, true, "alice"));
  world_.Live(20min);
  EXPECT_EQ(world_.In(KeyState::kRetiring), first_) << Trouble();
  ASSERT_TRUE(world_.rotator->Condemn(kDomain, "bob"));
  world_.Live(20min);
  EXPECT_EQ(world_.In(KeyState::kRevoked), first_) << Trouble();
}

// Whether somebody says that it is right or not: as a box that was off for long, or that was restored.
TEST_F(Rotations, WhatBeginsAfterAJumpOfTheClockIsCounted) {
  Begin();
  Jump(days(40));
  Replace(false);
  world_.Live(days(8));
  EXPECT_EQ(world_.In(KeyState::kRevoked), first_) << Trouble();
}

TEST_F(Rotations, TheFirstKeysWaitForNoClock) {
  world_.clock_is_set = MakeError(Reason::kStateConflict, "the clock is not set");
  Begin();
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Live(3h);
  EXPECT_EQ(world_.In(KeyState::kActive), first_) << "the next ones do";
  EXPECT_THAT(Trouble(), HasSubstr("not set"));
}

// A box whose clock has no battery: it begins in the past, and is set some minutes later.
TEST_F(Rotations, AClockThatIsNotSetYetDoesNotChangeTheTimesOfKeys) {
  Begin();
  Replace(false);
  const auto retired = world_.clock.Now();
  world_.clock.Set(KeyWorld::kStart - days(2000));
  world_.clock_is_set = MakeError(Reason::kStateConflict, "the clock is not set");
  world_.Tick();
  world_.clock.Set(retired + 1h);
  world_.clock_is_set = Ok();
  world_.Live(days(5));
  EXPECT_EQ(world_.In(KeyState::kRetiring), first_);
  world_.Live(days(3));
  EXPECT_EQ(world_.In(KeyState::kRevoked), first_);
}

TEST_F(Rotations, AnEmergencyThatIsAskedForAgainDoesNotSuspectTheNewKeys) {
  Begin();
  Replace(true);
  ASSERT_TRUE(world_.rotator->Request(kDomain, true, "alice"));
  EXPECT_EQ(world_.Life().rotation.wanted, store::Wanted::kNothing);
  EXPECT_EQ(*world_.rotator->Suspected(kDomain), first_);
  world_.Live(1h);
  EXPECT_EQ(world_.In(KeyState::kActive), second_);
  // Are the new ones known to others too, then the old ones are condemned first.
  ASSERT_TRUE(world_.rotator->Condemn(kDomain, "bob"));
  ASSERT_TRUE(world_.rotator->Request(kDomain, true, "alice"));
  EXPECT_EQ(*world_.rotator->Suspected(kDomain), second_);
  world_.Live(1h);
  EXPECT_EQ(world_.In(KeyState::kRetiring), second_) << Trouble();
  EXPECT_EQ(world_.In(KeyState::kRevoked), first_);
}

TEST_F(Rotations, APairThatTwoDomainsShareGoesWithTheLast) {
  ASSERT_TRUE(world_.store->InsertDomain({"example.net", "default", KeyWorld::kStart}));
  ShareAndLetGo({kDomain, "example.net"});
  // Each waits for the other between the look who else has it and the end, as far as it may: or both leave it there.
  std::mutex mutex;
  std::condition_variable changed;
  int under_way = 0, most = 0;
  world_.journaled = [&](const store::KeyEvent& event, const std::string& outcome) {
    if (event.to != "DESTROYED") return;
    std::unique_lock lock(mutex);
    under_way += outcome == "BEGUN" ? 1 : -1;
    most = std::max(most, under_way);
    changed.notify_all();
    if (outcome == "BEGUN") changed.wait_for(lock, 500ms, [&] { return most == 2; });
  };
  std::thread other([&] { world_.rotator->Tick("example.net"); });
  world_.rotator->Tick(kDomain);
  other.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(StateOf(kDomain, "shared"), KeyState::kDestroyed);
  EXPECT_EQ(StateOf("example.net", "shared"), KeyState::kDestroyed);
  EXPECT_THAT(world_.tokens.pairs, IsEmpty()) << "nobody knows of it any more";
}

TEST_F(Rotations, ThePairOfTheLedgerOutlivesADomain) {
  ShareAndLetGo({kDomain});
  // As an earlier Hallmark let it be adopted.
  ASSERT_TRUE(
      world_.store->InsertLedgerKey({"softhsm", kShared, world_.store->GetKey(kDomain, "shared")->public_key->Spki()}));
  world_.Tick();
  EXPECT_EQ(StateOf(kDomain, "shared"), KeyState::kDestroyed);
  EXPECT_THAT(world_.tokens.pairs, SizeIs(1));
}

TEST_F(Rotations, APausedDomainSaysThatARecordIsGoneAndLeavesItSo) {
  Begin();
  ASSERT_TRUE(world_.rotator->Pause(kDomain, "the zone moves", "alice"));
  world_.dns.records.erase(KeyWorld::Name(first_[0]));
  const auto asked = world_.dns.publishers.size();
  world_.Live(2h);
  EXPECT_THAT(Trouble(), HasSubstr(first_[0]));
  EXPECT_EQ(world_.dns.publishers.size(), asked);
  EXPECT_FALSE(world_.dns.records.contains(KeyWorld::Name(first_[0])));
  ASSERT_TRUE(world_.rotator->Resume(kDomain, "alice"));
  world_.Live(1h);
  EXPECT_EQ(RecordOf(first_[0]), KeyRecordOf(first_[0]));
  EXPECT_EQ(Trouble(), "");
}

// As after a rollback, when the new keys are what is bad.
TEST_F(Rotations, WhatIsRevokedWhileADomainIsPausedLosesItsRecord) {
  Begin();
  Replace(false);
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  ASSERT_TRUE(world_.Life().rotation.paused);
  ASSERT_EQ(world_.In(KeyState::kRetiring), second_);
  ASSERT_TRUE(world_.manager->Revoke(kDomain, second_[0], "alice"));
  world_.Live(1h);
  EXPECT_EQ(RecordOf(second_[0]), dkim::RevokedKeyRecordValue(*world_.Key(second_[0]).key.public_key));
  EXPECT_EQ(world_.Key(second_[0]).key.record, snapshot::RecordState::kVisible);
  EXPECT_EQ(RecordOf(second_[1]), KeyRecordOf(second_[1])) << "nobody revoked it";
}

TEST_F(Rotations, AnEmergencyIsUrgentUntilItsKeysAreRevoked) {
  Begin();
  EXPECT_FALSE(world_.rotator->Tick(kDomain).urgent);
  world_.tokens.silent = {"softhsm"};
  ASSERT_TRUE(world_.rotator->Request(kDomain, true, "alice"));
  EXPECT_TRUE(world_.rotator->Tick(kDomain).urgent) << "it could not be begun";
  EXPECT_THAT(*world_.store->ListUrgentDomains(), testing::ElementsAre(kDomain));
  world_.tokens.silent.clear();
  world_.Live(20min);
  ASSERT_EQ(world_.In(KeyState::kRetiring), first_) << Trouble();
  ASSERT_TRUE(world_.rotator->Condemn(kDomain, "bob"));
  EXPECT_THAT(*world_.store->ListUrgentDomains(), testing::ElementsAre(kDomain));
  world_.Live(20min);
  ASSERT_EQ(world_.In(KeyState::kRevoked), first_) << Trouble();
  EXPECT_FALSE(world_.rotator->Tick(kDomain).urgent);
  EXPECT_THAT(*world_.store->ListUrgentDomains(), IsEmpty());
}

// By hand, where the first look at it fails.
TEST_F(Rotations, WhatAnOperatorRevokesIsUrgentUntilDnsSaysSo) {
  Begin();
  Replace(false);
  ASSERT_TRUE(world_.manager->Revoke(kDomain, first_[0], "alice"));
  world_.dns.records[KeyWorld::Name(first_[0])] = "of someone else";  // which the publisher leaves alone
  EXPECT_TRUE(world_.rotator->Tick(kDomain).urgent);
  EXPECT_NE(Trouble(), "");
  EXPECT_THAT(*world_.store->ListUrgentDomains(), testing::ElementsAre(kDomain)) << "also after a restart";
  world_.dns.records[KeyWorld::Name(first_[0])] = KeyRecordOf(first_[0]);
  world_.Live(20min);
  ASSERT_EQ(world_.Key(first_[0]).key.record, RecordState::kVisible) << Trouble();
  EXPECT_FALSE(world_.rotator->Tick(kDomain).urgent);
  EXPECT_THAT(*world_.store->ListUrgentDomains(), IsEmpty());
}

// That is of every rotation, and may be of many domains whose name servers do not answer.
TEST_F(Rotations, WhatARotationRevokesIsNotUrgent) {
  Begin();
  Replace(false);
  world_.Live(days(6));
  world_.dns.silent = {"ns1", "ns2"};
  world_.Live(days(2));
  ASSERT_EQ(world_.In(KeyState::kRevoked), first_) << Trouble();
  ASSERT_EQ(world_.Key(first_[0]).key.record, RecordState::kUnretentive);
  EXPECT_FALSE(world_.rotator->Tick(kDomain).urgent);
  EXPECT_THAT(*world_.store->ListUrgentDomains(), IsEmpty());
}

// Nor is an emergency put off by more than others are.
TEST_F(Rotations, ADomainThatCannotBeReadIsTriedAgainSoonAndAsUrgentAsBefore) {
  Begin();
  world_.tokens.silent = {"softhsm"};  // or it would be over with one look
  ASSERT_TRUE(world_.rotator->Request(kDomain, true, "alice"));
  auto database = store::Database::Open(world_.folder.path() / "hallmark.db");
  ASSERT_TRUE(database);
  ASSERT_TRUE(database->Execute("UPDATE rotation_policy SET algorithms = 'x'"));
  const NextLook first = world_.rotator->Tick(kDomain);
  EXPECT_TRUE(first.failed);
  EXPECT_EQ(first.time, world_.clock.Now() + 10s);
  EXPECT_EQ(world_.rotator->Tick(kDomain).time, world_.clock.Now() + 20s);
  world_.SetPolicy();
  EXPECT_THAT(Trouble(), HasSubstr("unknown algorithm"));
  const NextLook next = world_.rotator->Tick(kDomain);
  EXPECT_TRUE(next.urgent);
  EXPECT_FALSE(next.failed);
}

TEST_F(Rotations, AKeyIsLookedAtAnewWhenItIsRevoked) {
  Begin();
  Replace(false);
  world_.Live(1h);
  ASSERT_TRUE(world_.manager->Revoke(kDomain, first_[0], "alice"));
  world_.Live(10s);
  const auto view = world_.rotator->View(kDomain);
  ASSERT_TRUE(view && view->seen.contains(first_[0]));
  EXPECT_THAT(view->seen.at(first_[0]).view.servers.at(0).values,
              testing::ElementsAre(dkim::RevokedKeyRecordValue(*world_.Key(first_[0]).key.public_key)));
}

TEST_F(Rotations, NothingIsCondemnedWhileADomainIsPaused) {
  Begin();
  Replace(true);
  ASSERT_TRUE(world_.rotator->Pause(kDomain, "the zone moves", "alice"));
  for (const Status& refused :
       {world_.rotator->Request(kDomain, true, "alice"), world_.rotator->Condemn(kDomain, "bob")}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::kStateConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("resume it first"));
  }
  ASSERT_TRUE(world_.rotator->Resume(kDomain, "alice"));
  EXPECT_TRUE(world_.rotator->Condemn(kDomain, "bob"));
}

TEST_F(Rotations, WhatIsKeptAndCouldNotBePublishedIsPublishedAtTheNextLook) {
  Begin();
  world_.publishes = MakeError(Reason::kStorageFailed, "the disk is full");
  EXPECT_FALSE(world_.manager->Retire(kDomain, first_[0], false, "alice"));
  EXPECT_EQ(world_.Key(first_[0]).key.state, KeyState::kRetiring);
  world_.Tick();
  EXPECT_THAT(Trouble(), HasSubstr("the disk is full"));
  world_.publishes = Ok();
  const int before = world_.published;
  world_.Tick();
  EXPECT_EQ(world_.published, before + 1);
  world_.Tick();
  EXPECT_EQ(world_.published, before + 1);
}

}  // namespace
}  // namespace hallmark::keys
