#include "signerd/policy/policy_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sample.h"

namespace hallmark::policy {
namespace {

using snapshot::Partner;
using snapshot::Policy;
using snapshot::Relay;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

snapshot::DomainRules Rules(const std::vector<std::string>& texts) { return *snapshot::DomainRules::Parse(texts); }
snapshot::AddressPattern Pattern(const char* text) { return *snapshot::AddressPattern::Parse(text); }

Policy Base() {
  Policy policy;
  Partner own = test::PartnerForAll("own");
  policy.partners.emplace("own", own);
  Partner acme = own;
  acme.name = "acme";
  acme.author_domains = Rules({".acme.example"});
  acme.signing_domains = Rules({"acme.example"});
  acme.addresses = {Pattern("*@acme.example")};
  acme.message = {true, true, true, 1000};
  acme.quota = {10, 20, 1000, 5, 500};
  acme.not_before = std::chrono::sys_seconds(std::chrono::seconds(1000));
  acme.not_after = std::chrono::sys_seconds(std::chrono::seconds(2000));
  policy.partners.emplace("acme", acme);
  policy.relays.emplace("relay1", Relay{"relay1", "dns:relay1.example", {"own"}});
  return policy;
}

struct Row {
  const char* name;
  std::function<void(Policy&)> change;
  std::vector<std::string> lines;
  bool widens;
};

Partner& Acme(Policy& policy) { return policy.partners.at("acme"); }
Relay& Relay1(Policy& policy) { return policy.relays.at("relay1"); }
std::chrono::sys_seconds At(int seconds) { return std::chrono::sys_seconds(std::chrono::seconds(seconds)); }

const Row kRows[] = {
    {"domain added",
     [](Policy& p) {
       Acme(p).author_domains = Rules({".acme.example", "b.example"});
     },
     {"author_domains: + b.example"},
     true},
    {"domain narrowed",
     [](Policy& p) { Acme(p).author_domains = Rules({"news.acme.example"}); },
     {"author_domains: - .acme.example", "author_domains: + news.acme.example"},
     false},
    {"domain widened",
     [](Policy& p) { Acme(p).signing_domains = Rules({".acme.example"}); },
     {"signing_domains: - acme.example", "signing_domains: + .acme.example"},
     true},
    {"address added",
     [](Policy& p) { Acme(p).addresses.push_back(Pattern("a@b.acme.example")); },
     {"addresses: + a@b.acme.example"},
     true},
    {"address swapped for none", [](Policy& p) { Acme(p).addresses.clear(); }, {"addresses: - *@acme.example"}, true},
    {"first address",
     [](Policy& p) { p.partners.at("own").addresses = {Pattern("a@b.example")}; },
     {"addresses: + a@b.example"},
     false},
    {"alignment off",
     [](Policy& p) { Acme(p).alignment = snapshot::Alignment::kOff; },
     {"alignment: relaxed -> off"},
     true},
    {"alignment strict",
     [](Policy& p) { Acme(p).alignment = snapshot::Alignment::kStrict; },
     {"alignment: relaxed -> strict"},
     false},
    {"Bcc allowed", [](Policy& p) { Acme(p).message.forbid_bcc = false; }, {"message.forbid_bcc: true -> false"}, true},
    {"size raised", [](Policy& p) { Acme(p).message.max_octets = 0; }, {"message.max_octets: 1000 -> no limit"}, true},
    {"size lowered", [](Policy& p) { Acme(p).message.max_octets = 10; }, {"message.max_octets: 1000 -> 10"}, false},
    {"rate raised", [](Policy& p) { Acme(p).quota.rate_per_second = 11; }, {"quota.rate_per_second: 10 -> 11"}, true},
    {"burst raised", [](Policy& p) { Acme(p).quota.burst = 21; }, {"quota.burst: 20 -> 21"}, true},
    {"first quota",
     [](Policy& p) {
       p.partners.at("own").quota = {5, 9, 0, 0, 0};
     },
     {"quota.rate_per_second: no limit -> 5", "quota.burst: as the rate -> 9"},
     false},
    {"volume lowered",
     [](Policy& p) { Acme(p).quota.messages_per_day = 1; },
     {"quota.messages_per_day: 1000 -> 1"},
     false},
    {"recipients raised",
     [](Policy& p) { Acme(p).quota.recipients_per_day = 501; },
     {"quota.recipients_per_day: 500 -> 501"},
     true},
    {"earlier",
     [](Policy& p) { Acme(p).not_before = At(999); },
     {"not_before: 1970-01-01T00:16:40Z -> 1970-01-01T00:16:39Z"},
     true},
    {"longer", [](Policy& p) { Acme(p).not_after.reset(); }, {"not_after: 1970-01-01T00:33:20Z -> none"}, true},
    {"shorter",
     [](Policy& p) { Acme(p).not_after = At(1500); },
     {"not_after: 1970-01-01T00:33:20Z -> 1970-01-01T00:25:00Z"},
     false},
    {"suspended",
     [](Policy& p) { Acme(p).state = snapshot::PartnerState::kSuspended; },
     {"state: active -> suspended"},
     false},
    {"weight", [](Policy& p) { Acme(p).weight = 5; }, {"weight: 1 -> 5"}, false},
    {"watch",
     [](Policy& p) {
       Acme(p).watch = {{"SURGE"}, 5};
     },
     {"watch.suspend_on: + SURGE", "watch.hard_limit_per_minute: no limit -> 5"},
     false},
    {"partner of a relay",
     [](Policy& p) { Relay1(p).partners = {"acme"}; },
     {"partners: - own", "partners: + acme"},
     true},
    {"identity", [](Policy& p) { Relay1(p).identity = "dns:x"; }, {"identity: dns:relay1.example -> dns:x"}, true},
    {"relay revoked",
     [](Policy& p) { Relay1(p).state = snapshot::RelayState::kRevoked; },
     {"state: active -> revoked"},
     false},
};

TEST(PolicyChanges, OneMemberAtATime) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    Policy to = Base();
    row.change(to);
    const Difference difference = FindDifference(Base(), to);
    ASSERT_EQ(difference.changes.size(), 1u);
    const auto& change = difference.changes[0];
    EXPECT_EQ(change.kind(), hallmark::admin::v1::PolicyChange::CHANGED);
    EXPECT_EQ((std::vector<std::string>{change.lines().begin(), change.lines().end()}), row.lines);
    EXPECT_EQ(!change.widens().empty(), row.widens);
    EXPECT_EQ(!difference.Widening().empty(), row.widens);
    EXPECT_EQ(difference.edit.put_partners.size() + difference.edit.put_relays.size(), 1u);
  }
}

// Back from revoked is more than before, and so is half the way back.
TEST(PolicyChanges, LeavingRevokedWidens) {
  Policy from = Base(), to = Base();
  Acme(from).state = snapshot::PartnerState::kRevoked;
  for (const auto state : {snapshot::PartnerState::kActive, snapshot::PartnerState::kSuspended}) {
    Acme(to).state = state;
    EXPECT_THAT(FindDifference(from, to).Widening(), HasSubstr("partner acme: state: revoked -> "));
  }
  Relay1(from).state = snapshot::RelayState::kRevoked;
  EXPECT_THAT(FindDifference(from, from).changes, IsEmpty());
  EXPECT_THAT(FindDifference(from, to).Widening(), HasSubstr("relay relay1: state: revoked -> active"));
}

TEST(PolicyChanges, AddedAndRemoved) {
  Policy to = Base();
  to.partners.erase("acme");
  Partner next = test::PartnerForAll("next");
  to.partners.emplace("next", next);
  to.relays.emplace("relay2", Relay{"relay2", "dns:relay2.example", {"next"}});
  to.relays.erase("relay1");
  const Difference difference = FindDifference(Base(), to);
  ASSERT_EQ(difference.changes.size(), 4u);
  EXPECT_EQ(difference.changes[0].what(), "partner acme");
  EXPECT_EQ(difference.changes[0].kind(), hallmark::admin::v1::PolicyChange::REMOVED);
  EXPECT_TRUE(difference.changes[0].widens().empty());
  EXPECT_EQ(difference.changes[1].what(), "partner next");
  EXPECT_FALSE(difference.changes[1].widens().empty());
  EXPECT_EQ(difference.changes[2].what(), "relay relay1");
  EXPECT_EQ(difference.changes[3].lines(0), "dns:relay2.example speaks for next");
  EXPECT_THAT(difference.edit.removed_partners, ElementsAre("acme"));
  EXPECT_THAT(difference.edit.removed_relays, ElementsAre("relay1"));
}

// Whoever approves it sees nothing else of it.
TEST(PolicyChanges, NewPartnersSayAllThatTheyMayDo) {
  Policy to = Base();
  Partner bounded = Acme(to), open = test::PartnerForAll("open");
  bounded.name = "bounded";
  bounded.watch = {{"HARD_LIMIT", "SURGE"}, 50};
  open.alignment = snapshot::Alignment::kOff;
  open.state = snapshot::PartnerState::kSuspended;
  open.weight = 100;
  open.quota.rate_per_second = 7;
  open.quota.messages_per_day = 1'000'000'000'000;
  to.partners.emplace("bounded", bounded);
  to.partners.emplace("open", open);
  EXPECT_EQ(
      FindDifference(Base(), to).Widening(),
      "partner bounded: sends with .acme.example, signed for acme.example, only from *@acme.example, alignment "
      "relaxed, valid from 1970-01-01T00:16:40Z, until 1970-01-01T00:33:20Z, at most 10 messages a second, 20 at "
      "once, at most 1000 messages a day, at most 5 recipients a message, at most 500 recipients a day, at most 1000 "
      "octets a message, without Bcc, with Date, with Message-ID, weight 1, suspended by itself on HARD_LIMIT, "
      "SURGE, hard limit of 50 messages a minute; "
      "partner open: suspended, sends with *, signed for *, from any address, alignment off, without end, at most 7 "
      "messages a second, 7 at once, at most 1000000000000 messages a day, any number of recipients a message, any "
      "number of recipients a day, any number of octets a message, Bcc allowed, Date not required, Message-ID not "
      "required, weight 100, never suspended by itself, no hard limit of messages a minute");
}

// What is a new name to the policy may be an old partner with looser bounds.
TEST(PolicyChanges, NewPartnersSayWhoIsTakenOutWithThem) {
  Policy from = Base(), to = Base();
  Partner again = Acme(to), other = test::PartnerForAll("other");
  again.name = "acme-mail";
  to.partners.erase("acme");
  EXPECT_EQ(FindDifference(from, to).Widening(), "");
  to.partners.emplace("acme-mail", again);
  EXPECT_THAT(FindDifference(from, to).Widening(), EndsWith("; the same file removes partner acme"));
  from.partners.emplace("other", other);
  to.relays.emplace("relay2", Relay{"relay2", "dns:relay2.example", {"own"}});
  const Difference difference = FindDifference(from, to);
  EXPECT_THAT(difference.Widening(), HasSubstr("; the same file removes partners acme, other; relay relay2: "));
  EXPECT_EQ(difference.changes[2].lines(0), difference.changes[2].widens(0));
}

// For the record: also what takes rights away, or gives none.
TEST(PolicyChanges, EachIsASentence) {
  Policy from = Base(), to = Base();
  Acme(from).watch.hard_limit_per_minute = 50;
  Acme(to).quota.messages_per_day = 1;
  to.partners.emplace("next", test::PartnerForAll("next"));
  to.relays.erase("relay1");
  EXPECT_THAT(FindDifference(from, to).Sentences(),
              ElementsAre("partner acme: quota.messages_per_day: 1000 -> 1",
                          "partner acme: watch.hard_limit_per_minute: 50 -> no limit",
                          StartsWith("partner next: added: sends with *, signed for *, "), "relay relay1: removed"));
}

// Whoever approves it sees the last of it too.
TEST(PolicyChanges, NothingThatWidensIsLeftOut) {
  Policy to = Base();
  for (int i = 0; i < 300; ++i) {
    const std::string name = "relay" + std::to_string(1000 + i);
    to.relays.emplace(name, Relay{name, "dns:" + name + ".example", {"own"}});
  }
  const std::string widening = FindDifference(Base(), to).Widening();
  for (const auto& [name, relay] : to.relays) {
    if (Base().relays.contains(name)) continue;
    EXPECT_THAT(widening, HasSubstr(relay.identity + " speaks for own"));
  }
}

TEST(PolicyChanges, NothingIsNothing) {
  const Difference difference = FindDifference(Base(), Base());
  EXPECT_TRUE(difference.changes.empty());
  EXPECT_EQ(difference.Widening(), "");
}

}  // namespace
}  // namespace hallmark::policy
