#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firmware/runtime/encoding.h"
#include "rotations.h"

// What is given up, what comes back, and what must not.
namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;
using snapshot::KeyState;
using snapshot::RecordState;
using std::chrono::days;
using test::KeyWorld;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class GivenUp : public test::Rotations {};

TEST_F(GivenUp, ARollbackNamesHalfAPairThatACrashLeft) {
  world_.tokens.dies_when_made = true;
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();  // dies when the token has the pair
  ASSERT_THAT(world_.tokens.pairs, SizeIs(1));
  world_.tokens.halves = {world_.tokens.pairs.begin()->first.second};
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  EXPECT_THAT(world_.Life().planned, IsEmpty());
  const auto events = *world_.store->ListKeyEvents(kDomain, "", 0, 100);
  EXPECT_TRUE(std::any_of(events.begin(), events.end(), [](const auto& event) { return event.to == "PLAN_GIVEN_UP"; }));
}

TEST_F(GivenUp, ARollbackNamesThePairThatATokenMayHave) {
  world_.policy.token = "group";
  world_.SetPolicy();
  world_.tokens.dies_when_made = true;
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();  // dies when the first has a pair that is not recorded
  ASSERT_THAT(world_.tokens.pairs, SizeIs(1));
  const Bytes id = world_.tokens.pairs.begin()->first.second;
  world_.tokens.silent = {"one"};
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  EXPECT_THAT(world_.Life().planned, IsEmpty());
  std::vector<std::string> notes;
  for (const auto& event : *world_.store->ListKeyEvents(kDomain, "", 0, 100)) {
    if (event.to == "PLAN_GIVEN_UP") notes.push_back(event.note);
  }
  ASSERT_THAT(notes, SizeIs(1)) << "of the other one it is known that it was not made";
  EXPECT_THAT(notes[0], HasSubstr("token one"));
  EXPECT_THAT(notes[0], HasSubstr(HexEncode(id)));
}

TEST_F(GivenUp, ARollbackLeavesNoStepOfAKeyThatWasNeverMade) {
  world_.tokens.silent = {"softhsm"};
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();
  ASSERT_THAT(world_.Life().planned, Not(IsEmpty()));
  const std::string selector = world_.Life().planned[0].selector;
  ASSERT_TRUE(*world_.store->IsPlanned(kDomain, selector, "GENERATED"));
  world_.tokens.silent.clear();
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  EXPECT_THAT(world_.Life().planned, IsEmpty());
  EXPECT_FALSE(*world_.store->IsPlanned(kDomain, selector, "GENERATED"));
}

TEST_F(GivenUp, ARollbackDoesNotBringBackAKeyThatDnsHasNoRecordOf) {
  Begin();
  Replace(false);
  world_.dns.records[KeyWorld::Name(first_[0])] = "of someone else";
  world_.Live(2h);
  const Status refused = world_.rotator->RollBack(kDomain, "alice");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kRecordNotVisible);
  EXPECT_THAT(refused.error().message, HasSubstr("dkimctl key activate example.com " + first_[0] + " --unpublished"));
  EXPECT_EQ(world_.In(KeyState::kActive), second_);
  EXPECT_FALSE(world_.Life().rotation.paused);
  world_.dns.records[KeyWorld::Name(first_[0])] = KeyRecordOf(first_[0]);
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  EXPECT_EQ(world_.In(KeyState::kActive), first_);
}

// Nobody looks at the records of what retires while a domain is paused, nor between two looks.
TEST_F(GivenUp, ARollbackAsksDnsWhateverWasSeenBefore) {
  Begin();
  Replace(false);
  world_.Live(2h);
  ASSERT_EQ(world_.Key(first_[0]).key.record, RecordState::kVisible);
  ASSERT_TRUE(world_.rotator->Pause(kDomain, "the zone moves", "alice"));
  world_.dns.records.erase(KeyWorld::Name(first_[0]));
  for (const std::chrono::seconds passes : {0s, std::chrono::seconds(2h)}) {
    world_.Live(passes);
    const Status refused = world_.rotator->RollBack(kDomain, "alice");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::kRecordNotVisible);
    EXPECT_EQ(world_.In(KeyState::kActive), second_);
  }
  // That it is gone is not forgotten when the servers are silent.
  world_.dns.silent = {"ns1", "ns2"};
  EXPECT_FALSE(world_.rotator->RollBack(kDomain, "alice"));
  world_.dns.silent.clear();
  world_.dns.records[KeyWorld::Name(first_[0])] = KeyRecordOf(first_[0]);
  ASSERT_TRUE(world_.rotator->RollBack(kDomain, "alice"));
  EXPECT_EQ(world_.In(KeyState::kActive), first_);
}

TEST_F(GivenUp, ARollbackAsksDnsAlsoRightAfterTheRecordWent) {
  Begin();
  Replace(false);
  world_.Live(2h);
  ASSERT_EQ(world_.Key(first_[1]).key.record, RecordState::kVisible);
  world_.dns.records.erase(KeyWorld::Name(first_[1]));
  const Status refused = world_.rotator->RollBack(kDomain, "alice");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kRecordNotVisible);
  EXPECT_EQ(world_.In(KeyState::kActive), second_);
}

// Bad keys need not sign until name servers answer again; the token has to.
TEST_F(GivenUp, ARollbackWaitsForNoServerThatIsSilent) {
  Begin();
  Replace(false);
  world_.Live(2h);
  world_.dns.silent = {"ns2"};
  world_.tokens.unable = {first_[0]};
  EXPECT_EQ(world_.rotator->RollBack(kDomain, "alice").error().reason, Reason::kTokenDown);
  world_.tokens.unable.clear();
  const Status done = world_.rotator->RollBack(kDomain, "alice");
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(world_.In(KeyState::kActive), first_);
}

// Its record is there, and there is nothing to put back.
TEST_F(GivenUp, ARollbackSaysThatTheTokenIsDown) {
  Begin();
  Replace(false);
  world_.Live(2h);
  world_.tokens.unable = {first_[0]};
  const Status done = world_.rotator->RollBack(kDomain, "alice");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().reason, Reason::kTokenDown);
  EXPECT_THAT(done.error().message, testing::Not(HasSubstr("put its record back")));
}

// As after a restore of a state in which they still sign: whoever revoked them knew why.
TEST_F(GivenUp, AKeyThatDnsSaysIsRevokedIsNotPublishedAgain) {
  Begin();
  const std::string revoked = dkim::RevokedKeyRecordValue(*world_.Key(first_[0]).key.public_key);
  world_.dns.records[KeyWorld::Name(first_[0])] = revoked;
  world_.Live(2h);
  EXPECT_EQ(RecordOf(first_[0]), revoked);
  EXPECT_THAT(Trouble(), HasSubstr(KeyWorld::Name(first_[0])));
  EXPECT_THAT(Trouble(), HasSubstr("revoked"));
  EXPECT_THAT(Trouble(), HasSubstr("dkimctl key rotate example.com --compromised"));
  EXPECT_EQ(world_.Key(first_[0]).key.record, RecordState::kRumoured);
  // The way out that it names, in whatever words the record says so.
  world_.dns.records[KeyWorld::Name(first_[0])] = "v=DKIM1; p=";
  ASSERT_TRUE(world_.rotator->Request(kDomain, true, "alice"));
  world_.Live(1h);
  ASSERT_EQ(world_.In(KeyState::kRetiring), first_) << Trouble();
  ASSERT_TRUE(world_.rotator->Condemn(kDomain, "bob"));
  world_.Live(1h);
  EXPECT_EQ(world_.In(KeyState::kRevoked), first_);
  EXPECT_EQ(Trouble(), "");
}

TEST_F(GivenUp, ASuccessorThatDnsSaysIsRevokedIsNotPublishedAgain) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();
  const auto next = world_.In(KeyState::kPublished);
  ASSERT_THAT(next, SizeIs(2));
  const std::string revoked = dkim::RevokedKeyRecordValue(*world_.Key(next[0]).key.public_key);
  world_.dns.records[KeyWorld::Name(next[0])] = revoked;
  world_.Live(3h);
  EXPECT_EQ(RecordOf(next[0]), revoked);
  EXPECT_EQ(world_.In(KeyState::kActive), first_);
  EXPECT_THAT(Trouble(), HasSubstr(KeyWorld::Name(next[0])));
}

TEST_F(GivenUp, ARevocationWhoseAnswerWasLostIsMadeAgain) {
  Begin();
  Replace(true);
  world_.dns.answer_is_lost = true;
  ASSERT_TRUE(world_.rotator->Condemn(kDomain, "bob"));
  world_.Tick();
  ASSERT_EQ(world_.In(KeyState::kRevoked).size(), 1u);
  ASSERT_EQ(world_.In(KeyState::kRetiring).size(), 1u) << "no answer was lost";
  const std::string lost = world_.In(KeyState::kRetiring)[0];
  const std::string revoked = dkim::RevokedKeyRecordValue(*world_.Key(lost).key.public_key);
  EXPECT_EQ(RecordOf(lost), revoked) << "it was published again in between";
  world_.Live(20min);
  EXPECT_EQ(world_.In(KeyState::kRevoked), first_) << Trouble();
  EXPECT_EQ(RecordOf(lost), revoked);
}

TEST_F(GivenUp, AKeyMadeByHandThatNeverSignedIsGivenUp) {
  ASSERT_TRUE(world_.manager->Generate(kDomain, "byhand", {dkim::Algorithm::kEd25519Sha256, 0}, ""));
  ASSERT_TRUE(world_.manager->CanRevoke(kDomain, "byhand"));
  ASSERT_TRUE(world_.manager->Revoke(kDomain, "byhand", "alice"));
  EXPECT_THAT(world_.manager->CanRevoke(kDomain, "byhand").error().message, HasSubstr("given up already"));
  EXPECT_EQ(world_.manager->Activate(kDomain, "byhand", "alice").error().reason, Reason::kStateConflict);
  world_.Live(1h);
  EXPECT_EQ(StateOf(kDomain, "byhand"), KeyState::kWithdrawn) << Trouble();
  EXPECT_THAT(world_.tokens.pairs, SizeIs(1));
  world_.Live(days(31));
  EXPECT_EQ(StateOf(kDomain, "byhand"), KeyState::kDestroyed) << Trouble();
  EXPECT_THAT(world_.tokens.pairs, IsEmpty());
  EXPECT_THAT(world_.dns.publishers, IsEmpty()) << "nothing was ever published";
  const auto events = *world_.store->ListKeyEvents(kDomain, "byhand", 0, 100);
  EXPECT_TRUE(std::any_of(events.begin(), events.end(),
                          [](const auto& event) { return event.to == "GIVEN_UP" && event.by == "alice"; }));
}

// Whether it was adopted by two, or is still used by one.
TEST_F(GivenUp, AnAdoptedKeyThatIsGivenUpLeavesThePairToTheOthers) {
  ASSERT_TRUE(world_.tokens.Generate("softhsm", {}, kShared, ""));
  ASSERT_TRUE(world_.store->InsertDomain({"example.net", "default", KeyWorld::kStart}));
  for (const char* domain : {kDomain, "example.net"}) {
    ASSERT_TRUE(world_.manager->Adopt(domain, "shared", "", kShared));
  }
  ASSERT_TRUE(world_.manager->Revoke(kDomain, "shared", "alice"));
  world_.Live(days(31));
  EXPECT_EQ(StateOf(kDomain, "shared"), KeyState::kDestroyed) << Trouble();
  EXPECT_THAT(world_.tokens.pairs, SizeIs(1));
  EXPECT_EQ(StateOf("example.net", "shared"), KeyState::kGenerated);
}

// That is what a rollback is for.
TEST_F(GivenUp, AKeyOfARotationIsNotGivenUpAlone) {
  Begin();
  world_.dns.answer_is_lost = true;
  ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
  world_.Tick();
  const auto made = world_.In(KeyState::kGenerated);
  ASSERT_THAT(made, SizeIs(1));
  EXPECT_EQ(world_.manager->Revoke(kDomain, made[0], "alice").error().reason, Reason::kStateConflict);
  EXPECT_THAT(world_.manager->CanRevoke(kDomain, made[0]).error().message, HasSubstr("dkimctl key rollback"));
}

}  // namespace
}  // namespace hallmark::keys
