#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "key_world.h"
#include "signerd/dkim/key_record.h"

namespace hallmark::test {

// A domain whose keys are replaced, with what goes wrong meanwhile.
class Rotations : public testing::Test {
 protected:
  static constexpr const char* kDomain = KeyWorld::kDomain;

  // The first keys sign, and their records are settled.
  void Begin() {
    ASSERT_TRUE(world_.rotator->Request(kDomain, false, "alice"));
    world_.Live(std::chrono::hours(2));
    first_ = world_.In(snapshot::KeyState::kActive);
    ASSERT_THAT(first_, testing::SizeIs(2)) << Trouble();
  }
  // The next ones sign; the first retire.
  void Replace(bool emergency) {
    ASSERT_TRUE(world_.rotator->Request(kDomain, emergency, "alice"));
    world_.Live(emergency ? std::chrono::minutes(10) : std::chrono::hours(2));
    second_ = world_.In(snapshot::KeyState::kActive);
    ASSERT_THAT(second_, testing::SizeIs(2)) << Trouble();
    ASSERT_EQ(world_.In(snapshot::KeyState::kRetiring), first_);
  }
  // The clock jumps ahead, or is put right.
  void Jump(std::chrono::seconds ahead) {
    world_.clock.Set(world_.clock.Now() + ahead);
    world_.jumped = world_.clock.Now();
  }
  void PutRight(std::chrono::sys_seconds time) {
    world_.clock.Set(time);
    world_.jumped = {};
  }
  std::string Trouble() { return world_.rotator->View(kDomain)->trouble; }
  std::string RecordOf(const std::string& selector) { return world_.dns.records[KeyWorld::Name(selector)]; }
  std::string KeyRecordOf(const std::string& selector) {
    return dkim::KeyRecordValue(*world_.Key(selector).key.public_key);
  }
  // A pair that each of the domains adopts, and lets go of until it is WITHDRAWN and due to be DESTROYED.
  void ShareAndLetGo(const std::vector<std::string>& domains) {
    ASSERT_TRUE(world_.tokens.Generate("softhsm", {}, kShared, ""));
    for (const std::string& domain : domains) {
      ASSERT_TRUE(world_.manager->Adopt(domain, "shared", "", kShared));
      ASSERT_TRUE(world_.manager->Activate(domain, "shared", "alice"));
      ASSERT_TRUE(world_.manager->Retire(domain, "shared", true, "alice"));
      ASSERT_TRUE(world_.manager->Revoke(domain, "shared", "alice"));
    }
    for (const std::chrono::seconds passes :
         {std::chrono::seconds(std::chrono::days(31)), std::chrono::seconds(std::chrono::minutes(10))}) {
      world_.clock.Set(world_.clock.Now() + passes);
      for (const std::string& domain : domains) world_.rotator->Tick(domain);
    }
    world_.clock.Set(world_.clock.Now() + std::chrono::days(31));
    for (const std::string& domain : domains) {
      const auto key = world_.store->GetKeyLife(domain, "shared");
      ASSERT_EQ(key->key.state, snapshot::KeyState::kWithdrawn);
      ASSERT_EQ(key->key.record, snapshot::RecordState::kAbsent);
    }
  }
  snapshot::KeyState StateOf(const std::string& domain, const std::string& selector) {
    return world_.store->GetKeyLife(domain, selector)->key.state;
  }

  const Bytes kShared{7};
  KeyWorld world_;
  std::vector<std::string> first_, second_;
};

}  // namespace hallmark::test
