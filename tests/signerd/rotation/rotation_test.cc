#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "rotation_world.h"

// Whole lives of keys against real name servers and a real token, in a time that the tests set.
namespace hallmark::test {
namespace {

using namespace std::chrono_literals;
using snapshot::KeyState;
using std::chrono::days;
using testing::HasSubstr;

class Rotation : public testing::Test {
 protected:
  // The first keys sign, and their records are settled.
  void Begin() {
    ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
    world_.Live(RotationWorld::kStart + days(2), 30min, [&] { return world_.Count(KeyState::kActive) == 2; });
    ASSERT_EQ(world_.Count(KeyState::kActive), 2) << world_.Describe();
    first_ = Signing();
  }
  std::set<std::string> Signing() const { return world_.Signing(); }
  bool Replaced() const { return Signing().size() == 2 && Signing() != first_; }
  // Until new keys sign; then a week more, so that the old ones retire.
  void LiveThroughARotation() {
    world_.Live(world_.clock.Now() + days(100), 6h, [&] { return Replaced(); });
    ASSERT_TRUE(Replaced()) << world_.Describe();
    world_.Live(world_.clock.Now() + days(8), 6h);
    EXPECT_EQ(world_.Count(KeyState::kRevoked), 2) << world_.Describe();
  }
  // New keys sign from this instant on, at which mail of theirs and of the old ones was verified; that of the old ones
  // is until a week is over.
  void LiveThroughTheGracePeriod(const std::function<void()>& meanwhile = [] {}) {
    ASSERT_TRUE(Replaced()) << world_.Describe();
    const auto switched = world_.lived;
    const auto second = Signing();
    for (const auto& selector : second) EXPECT_EQ(world_.last_verified[selector], switched) << selector;
    for (const auto& selector : first_) EXPECT_EQ(world_.last_verified[selector], switched) << selector;
    world_.Live(world_.clock.Now() + days(8), 6h, [&] {
      meanwhile();
      return false;
    });
    EXPECT_EQ(Signing(), second);
    EXPECT_EQ(world_.Count(KeyState::kRevoked), 2) << world_.Describe();
    for (const auto& selector : second) EXPECT_GT(world_.last_verified[selector], switched + days(7)) << selector;
    for (const auto& selector : first_) {
      EXPECT_GE(world_.last_verified[selector], switched + days(7) - 6h) << selector;
    }
  }
  const store::KeyLife* Find(const store::DomainLife& life, const std::string& selector) {
    for (const auto& key : life.keys) {
      if (key.key.selector == selector) return &key;
    }
    return nullptr;
  }

  RotationWorld world_;
  std::set<std::string> first_;
};

TEST_F(Rotation, AWholeLifeLosesNoMail) {
  Begin();
  LiveThroughARotation();
  const auto rotated = world_.clock.Now();
  // Thirty days with an empty p=, thirty without a record, then the pairs go.
  world_.Live(rotated + days(62), 12h, [&] { return world_.Count(KeyState::kDestroyed) == 2; });
  EXPECT_EQ(world_.Count(KeyState::kDestroyed), 2) << world_.Describe();
  for (const auto& key : *world_.store->ListKeys(RotationWorld::kDomain, {"", -1})) {
    const auto found = world_.token_signer.Find(key.token, key.cka_id);
    if (key.state == KeyState::kDestroyed) {
      EXPECT_EQ(found.error().reason, Reason::kKeyMissing) << key.selector;
    } else {
      EXPECT_TRUE(found) << key.selector;
    }
  }
  EXPECT_GT(world_.clock.Now() - RotationWorld::kStart, days(100));
  std::printf("%d instants, %d verifications of messages\n", world_.instants, world_.verified);
  for (const char* state : {"GENERATED", "ACTIVE", "RETIRING", "REVOKED", "WITHDRAWN", "DESTROYED"}) {
    EXPECT_THAT(world_.ledgered, testing::Contains(std::string("OK ") + state + " " + *first_.begin()));
  }
  // Every step is in the history, with the time for which it was planned.
  const auto events = world_.store->ListKeyEvents(RotationWorld::kDomain, *first_.begin(), 0, 100);
  std::vector<std::string> states;
  for (auto event = events->rbegin(); event != events->rend(); ++event) {
    if (event->axis == "key") states.push_back(event->to);
    EXPECT_GE(event->done, event->planned) << event->to;
    EXPECT_NE(event->done, std::chrono::sys_seconds{}) << event->to;
  }
  EXPECT_THAT(states, testing::ElementsAre("GENERATED", "PUBLISHED", "READY", "ACTIVE", "RETIRING", "REVOKED",
                                           "WITHDRAWN", "DESTROYED"));
}

TEST_F(Rotation, NothingIsReadyBeforeEveryCacheMustHaveIt) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  std::map<std::string, std::chrono::sys_seconds> visible;
  const auto begun = world_.clock.Now();
  world_.Live(begun + days(2), 10min, [&] {
    for (const auto& key : world_.Life().keys) {
      if (key.visible_since != std::chrono::sys_seconds{}) visible.try_emplace(key.key.selector, key.visible_since);
    }
    return Replaced();
  });
  ASSERT_TRUE(Replaced()) << world_.Describe();
  for (const auto& selector : Signing()) {
    const auto life = world_.Life();
    // The record's own TTL, the zone's negative TTL (its SOA minimum) and the policy's hour.
    EXPECT_EQ(Find(life, selector)->longest_ttl, 600s);
    EXPECT_EQ(Find(life, selector)->negative_ttl, 1800s);
    EXPECT_GE(Find(life, selector)->key.state_since - visible[selector], 600s + 1800s + 3600s);
  }
}

// Each call to the token and to the DNS, at every step of a whole life: once the daemon dies before it, once after it.
TEST_F(Rotation, ACrashAtEveryStepLosesNothing) {
  std::set<std::string> seen;
  std::map<std::string, int> calls;
  world_.between->hook = [&](const std::string& call, bool after) -> Status {
    std::string states;
    for (const auto& key : world_.Life().keys) states += std::string(keys::StateName(key.key.state)) + " ";
    states += std::to_string(world_.Life().planned.size());
    if (seen.insert(call + (after ? " after " : " before ") + states).second) throw Crash();
    return Ok();
  };
  Begin();
  LiveThroughARotation();
  world_.Live(world_.clock.Now() + days(62), 12h, [&] { return world_.Count(KeyState::kDestroyed) == 2; });
  EXPECT_EQ(world_.Count(KeyState::kDestroyed), 2) << world_.Describe();
  EXPECT_GT(world_.crashes, 40);
  std::printf("%d crashes\n", world_.crashes);
  // No pair was made twice: all that the token has is known.
  EXPECT_EQ(world_.store->ListKeys(RotationWorld::kDomain, {"", -1})->size(), 4u);
  EXPECT_TRUE(world_.Life().planned.empty());
}

TEST_F(Rotation, ASecondaryThatLagsAnHourIsWaitedFor) {
  Begin();
  // The third server serves what the primary had an hour ago.
  world_.settled_servers.pop_back();
  std::map<std::chrono::sys_seconds, std::string> zones;
  std::string served;
  const auto lag = [&] {
    zones[world_.clock.Now()] = world_.knots[0]->ZoneFile(RotationWorld::kDomain);
    auto old = zones.upper_bound(world_.clock.Now() - 1h);
    if (old == zones.begin()) return;
    --old;
    if (old->second == served) return;
    served = old->second;
    world_.knots[2].reset();
    world_.knots[2] =
        Knot::Start(RotationWorld::kServers[2], world_.port, {{.name = RotationWorld::kDomain, .file = served}});
    ASSERT_NE(world_.knots[2], nullptr);
  };
  zones[world_.clock.Now() - 2h] = world_.knots[0]->ZoneFile(RotationWorld::kDomain);
  lag();
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  const auto begun = world_.clock.Now();
  bool said = false;
  world_.Live(begun + days(1), 5min, [&] {
    lag();
    said = said || world_.View().trouble.find("127.0.1.3") != std::string::npos;
    return Replaced();
  });
  EXPECT_TRUE(said) << "the status never named the server that is behind";
  EXPECT_GT(world_.clock.Now() - begun, 1h + 600s + 1800s + 3600s);
  LiveThroughTheGracePeriod(lag);
}

TEST_F(Rotation, AServerThatAnswersServfailDelaysAndStopsNothing) {
  Begin();
  world_.knots[2].reset();
  // A secondary of a primary that does not answer has no zone: SERVFAIL.
  world_.knots[2] = Knot::Start(RotationWorld::kServers[2], world_.port,
                                {{.name = RotationWorld::kDomain, .primary = "127.0.1.8", .never_loads = true}});
  ASSERT_NE(world_.knots[2], nullptr);
  world_.checked_servers.pop_back();
  world_.settled_servers.pop_back();
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  world_.Live(world_.clock.Now() + days(2), 2h);
  EXPECT_EQ(Signing(), first_);
  EXPECT_THAT(world_.View().trouble, HasSubstr("127.0.1.3")) << world_.Describe();
  EXPECT_THAT(world_.View().trouble, HasSubstr("SERVFAIL"));
  world_.StartSecondary(2);
  world_.checked_servers.push_back(RotationWorld::kServers[2]);
  world_.settled_servers.push_back(RotationWorld::kServers[2]);
  world_.Live(world_.clock.Now() + days(1), 10min, [&] { return Replaced(); });
  EXPECT_EQ(world_.View().trouble, "");
  LiveThroughTheGracePeriod();
}

TEST_F(Rotation, ALostTsigKeyIsSaidAndWaitedFor) {
  Begin();
  world_.OpenRecords(kReader.secret);
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  world_.Live(world_.clock.Now() + days(1), 2h);
  EXPECT_EQ(Signing(), first_);
  EXPECT_EQ(world_.Count(KeyState::kGenerated), 2) << world_.Describe();
  EXPECT_THAT(world_.View().trouble, HasSubstr("BADSIG"));
  world_.OpenRecords();
  world_.Live(world_.clock.Now() + days(1), 10min, [&] { return Replaced(); });
  LiveThroughTheGracePeriod();
}

TEST_F(Rotation, ARecordTakenAwayByHandComesBack) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  const auto published = [&] { return world_.Count(KeyState::kPublished) == 2; };
  world_.Live(world_.clock.Now() + days(1), 1min, published);
  world_.Live(world_.clock.Now() + 30min, 5min);
  ASSERT_TRUE(published()) << world_.Describe();
  const auto key = world_.Life().keys.back();
  ASSERT_NE(key.visible_since, std::chrono::sys_seconds{});
  ASSERT_TRUE(world_.records->Remove("main", key.published_name, keys::OwnValues(*key.key.public_key)));
  const auto removed = world_.clock.Now();
  world_.Live(removed + days(1), 5min, [&] { return Replaced(); });
  ASSERT_TRUE(Replaced()) << world_.Describe();
  // A resolver may have learnt in between that there is no such name: the wait began anew.
  EXPECT_GT(world_.clock.Now() - removed, 600s + 1800s + 3600s);
  LiveThroughTheGracePeriod();
}

TEST_F(Rotation, ARecordOfSomeoneElseIsNeverOverwritten) {
  Begin();
  const std::string foreign = "v=DKIM1; p=c29tZW9uZSBlbHNl";
  std::string name;
  // Whoever edits the zone takes the very name in the moment before it is published.
  world_.between->hook = [&](const std::string& call, bool after) -> Status {
    if (call == "Generate" && after && name.empty()) {
      name = world_.Life().planned.front().selector + "._domainkey." + RotationWorld::kDomain;
      return world_.records->Put("main", name, foreign, 300s, {});
    }
    return Ok();
  };
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  world_.Live(world_.clock.Now() + days(1), 1h);
  EXPECT_EQ(Signing(), first_);
  EXPECT_THAT(world_.View().trouble, HasSubstr("c29tZW9uZ")) << world_.Describe();
  const auto view = world_.records->Observe(name);
  ASSERT_TRUE(view);
  for (const auto& server : view->servers) EXPECT_THAT(server.values, testing::ElementsAre(foreign)) << server.server;
  // The way out: give it up, and begin again.
  ASSERT_TRUE(world_.rotator->RollBack(RotationWorld::kDomain, "alice"));
  ASSERT_TRUE(world_.rotator->Resume(RotationWorld::kDomain, "alice"));
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  world_.Live(world_.clock.Now() + days(1), 10min, [&] { return Replaced(); });
  LiveThroughTheGracePeriod();
}

TEST_F(Rotation, ATokenThatIsGoneForADayDelaysTheRotation) {
  Begin();
  std::chrono::sys_seconds back = world_.clock.Now() + days(1);
  world_.between->hook = [&](const std::string& call, bool) -> Status {
    const bool asks_token = call == "Generate" || call == "Find" || call == "Sign" || call == "Destroy";
    if (asks_token && world_.clock.Now() < back) return MakeError(Reason::kTokenDown, "the token is gone");
    return Ok();
  };
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  world_.Live(back - 1h, 1h);
  EXPECT_THAT(world_.View().trouble, HasSubstr("the token is gone"));
  EXPECT_EQ(world_.Life().planned.size(), 2u);
  // What an operator holds is in no trouble.
  ASSERT_TRUE(world_.rotator->Pause(RotationWorld::kDomain, "", "alice"));
  world_.Tick();
  EXPECT_EQ(world_.View().trouble, "");
  ASSERT_TRUE(world_.rotator->Resume(RotationWorld::kDomain, "alice"));
  // And again in the moment in which the new keys are to sign.
  world_.Live(back + 1h, 10min, [&] { return world_.Count(KeyState::kPublished) == 2; });
  back = world_.clock.Now() + days(1);
  world_.Live(back - 1h, 1h);
  EXPECT_EQ(Signing(), first_);
  EXPECT_EQ(world_.Count(KeyState::kReady), 2) << world_.Describe();
  EXPECT_THAT(world_.View().trouble, HasSubstr("the token is gone"));
  world_.Live(back + days(1), 10min, [&] { return Replaced(); });
  LiveThroughTheGracePeriod();
}

TEST_F(Rotation, AClockThatGoesBackOnlyMakesThingsLater) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  world_.Live(world_.clock.Now() + days(1), 5min, [&] { return world_.Count(KeyState::kPublished) == 2; });
  const auto waited = world_.clock.Now();
  world_.clock.Set(waited - days(1));
  world_.Live(world_.clock.Now() + days(1), 10min, [&] { return Replaced(); });
  ASSERT_TRUE(Replaced()) << world_.Describe();
  EXPECT_LT(world_.clock.Now(), waited) << "the rotation stood still until the clock was where it had been";
  // While the old keys retire, too: the week begins anew.
  world_.Live(world_.clock.Now() + days(3), 6h);
  world_.clock.Set(world_.clock.Now() - days(30));
  const auto again = world_.clock.Now();
  world_.Live(again + days(8), 6h, [&] { return world_.Count(KeyState::kRevoked) == 2; });
  EXPECT_EQ(world_.Count(KeyState::kRevoked), 2) << world_.Describe();
  EXPECT_GE(world_.clock.Now() - again, days(7));
}

TEST_F(Rotation, AnEmergencyWaitsForNoCache) {
  Begin();
  const auto begun = world_.clock.Now();
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, true, "alice"));
  world_.Live(begun + 1h, 10s, [&] { return Replaced(); });
  ASSERT_TRUE(Replaced()) << world_.Describe();
  EXPECT_LT(world_.clock.Now() - begun, 10min);
  EXPECT_EQ(world_.Count(KeyState::kRetiring), 2) << "only a second person has them revoked";
  ASSERT_TRUE(world_.rotator->Condemn(RotationWorld::kDomain, "bob"));
  world_.Tick();
  EXPECT_EQ(world_.Count(KeyState::kRevoked), 2) << world_.Describe();
  for (const std::string& selector : first_) {
    const auto view = world_.records->Observe(selector + "._domainkey." + RotationWorld::kDomain);
    ASSERT_TRUE(view);
    EXPECT_THAT(view->servers.front().values, testing::ElementsAre(testing::EndsWith("p=")));
  }
}

TEST_F(Rotation, RollsBackWhileTheOldKeysRetire) {
  Begin();
  ASSERT_TRUE(world_.rotator->Request(RotationWorld::kDomain, false, "alice"));
  world_.Live(world_.clock.Now() + days(1), 10min, [&] { return Replaced(); });
  ASSERT_TRUE(Replaced()) << world_.Describe();
  const auto second = Signing();
  world_.Live(world_.clock.Now() + days(3), 6h);
  ASSERT_TRUE(world_.rotator->RollBack(RotationWorld::kDomain, "alice"));
  EXPECT_EQ(Signing(), first_);
  world_.SignMail();
  // Paused: nothing goes on, and mail of both sets verifies.
  world_.Live(world_.clock.Now() + days(20), 12h);
  EXPECT_EQ(world_.Count(KeyState::kRetiring), 2);
  ASSERT_TRUE(world_.rotator->Resume(RotationWorld::kDomain, "alice"));
  world_.Live(world_.clock.Now() + days(8), 6h);
  for (const auto& key : world_.Life().keys) {
    EXPECT_EQ(key.key.state == KeyState::kActive, first_.contains(key.key.selector));
  }
  EXPECT_EQ(world_.rotator->RollBack(RotationWorld::kDomain, "alice").error().reason, Reason::kStateConflict)
      << "what is revoked does not come back";
}

}  // namespace
}  // namespace hallmark::test
