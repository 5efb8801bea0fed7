#include "signerd/policy/policy_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "sample.h"
#include "signerd/policy/policy_changes.h"
#include "signerd/policy/policy_convert.h"

namespace hallmark::policy {
namespace {

using testing::HasSubstr;

constexpr char kSmall[] = R"([[partner]]
name = "own"
author_domains = ["*"]
signing_domains = ["*"]

[[relay]]
name = "relay1"
identity = "dns:Relay1.example"
partners = ["own"]
)";

constexpr char kFull[] = R"(
[[partner]]
name = "own"
author_domains = ["*"]
signing_domains = [".example.com", "example.org"]

[[partner]]
name = "acme"
state = "suspended"
author_domains = [".acme.example"]
signing_domains = ["acme.example"]
addresses = ["*@news.acme.example", "\"a\\\"b\"@acme.example"]
alignment = "strict"
not_before = 2026-01-31
not_after = 2026-12-31T12:00:00+02:00
weight = 7
message = { forbid_bcc = true, require_date = true, require_message_id = true, max_octets = 1000000 }
[partner.quota]
rate_per_second = 10
burst = 100
messages_per_day = 1000
recipients_per_message = 50
recipients_per_day = 5000
[partner.watch]
suspend_on = ["SURGE", "HARD_LIMIT"]
hard_limit_per_minute = 600

[[relay]]
name = "relay1"
identity = "uri:spiffe://example/relay1"
partners = ["own", "acme"]
state = "revoked"
)";

class PolicyFileTest : public testing::Test {
 protected:
  Result<hallmark::admin::v1::Policy> Load(const std::string& text) {
    const auto path = folder_.path() / "policy.toml";
    std::ofstream(path) << text;
    return LoadPolicy(path);
  }
  test::TemporaryFolder folder_;
};

TEST_F(PolicyFileTest, ReadsEveryMember) {
  const auto text = Load(kFull);
  ASSERT_TRUE(text) << text.error().message;
  const auto policy = FromApi(*text, {});
  ASSERT_TRUE(policy) << policy.error().message;
  ASSERT_EQ(policy->partners.size(), 2u);
  const snapshot::Partner& own = policy->partners.at("own");
  EXPECT_EQ(own.state, snapshot::PartnerState::kActive);
  EXPECT_EQ(own.alignment, snapshot::Alignment::kRelaxed);
  EXPECT_EQ(own.weight, 1);
  EXPECT_EQ(own.signing_domains.texts(), (std::set<std::string>{".example.com", "example.org"}));
  const snapshot::Partner& acme = policy->partners.at("acme");
  EXPECT_EQ(acme.state, snapshot::PartnerState::kSuspended);
  EXPECT_EQ(acme.alignment, snapshot::Alignment::kStrict);
  ASSERT_EQ(acme.addresses.size(), 2u);
  EXPECT_EQ(acme.addresses[0].text(), "\"a\\\"b\"@acme.example");
  EXPECT_EQ(*acme.not_before, std::chrono::sys_days(std::chrono::year(2026) / 1 / 31));
  EXPECT_EQ(*acme.not_after, std::chrono::sys_days(std::chrono::year(2026) / 12 / 31) + std::chrono::hours(10));
  EXPECT_EQ(acme.weight, 7);
  EXPECT_EQ(acme.message, (snapshot::MessageRules{true, true, true, 1'000'000}));
  EXPECT_EQ(acme.quota, (snapshot::Quota{10, 100, 1000, 50, 5000}));
  EXPECT_EQ(acme.watch, (snapshot::WatchSettings{{"SURGE", "HARD_LIMIT"}, 600}));
  const snapshot::Relay& relay = policy->relays.at("relay1");
  EXPECT_EQ(relay.state, snapshot::RelayState::kRevoked);
  EXPECT_EQ(relay.partners.size(), 2u);
}

TEST_F(PolicyFileTest, WhatIsWrittenReadsTheSame) {
  for (const char* text : {kSmall, kFull}) {
    const auto first = FromApi(*Load(text), {});
    ASSERT_TRUE(first);
    const std::string written = PolicyText(ToApi(*first));
    const auto read = Load(written);
    ASSERT_TRUE(read) << read.error().message << "\n" << written;
    const auto second = FromApi(*read, {});
    ASSERT_TRUE(second);
    EXPECT_TRUE(FindDifference(*first, *second).changes.empty()) << written;
    EXPECT_EQ(PolicyText(ToApi(*second)), written);
    EXPECT_EQ(Etag(*first), Etag(*second));
  }
}

TEST_F(PolicyFileTest, NamesOfHostsHaveNoCase) {
  EXPECT_EQ(FromApi(*Load(kSmall), {})->relays.at("relay1").identity, "dns:relay1.example");
}

struct Bad {
  const char* name;
  const char *from, *to;  // what of kFull is replaced
  const char* said;
};
const Bad kBad[] = {
    {"NoPartner", "[[partner]]", "[[partners]]", "partner: found a table"},
    {"NoOwn", "name = \"own\"", "name = \"ours\"", ":2: partner: there is no partner \"own\""},
    {"NoName", "name = \"acme\"", "", "partner[1].name: missing"},
    {"OddName", "name = \"acme\"", "name = \"A b\"", ":8: partner[1].name: found \"A b\""},
    {"NameTwice", "name = \"acme\"", "name = \"own\"", ":8: partner[1].name: \"own\" is used twice"},
    {"NoAuthorDomains", "author_domains = [\".acme.example\"]", "", "partner[1].author_domains: missing"},
    {"EmptyDomains", "[\"acme.example\"]", "[]", "signing_domains: found an empty list"},
    {"OddDomain", "[\"acme.example\"]", "[\"*.acme.example\"]", "partner[1].signing_domains: \"*.acme.example\""},
    {"OddAddress", "*@news.acme.example", "news", "partner[1].addresses: \"news\" is no address pattern"},
    {"OddAlignment", "\"strict\"", "\"loose\"", ":13: partner[1].alignment: found \"loose\""},
    {"OddState", "\"suspended\"", "\"asleep\"", "partner[1].state: found \"asleep\""},
    {"OwnRevoked", "author_domains = [\"*\"]", "author_domains = [\"*\"]\nstate = \"revoked\"",
     "own cannot be revoked"},
    {"NoDate", "2026-01-31", "\"2026-01-31\"", "partner[1].not_before: found a string"},
    {"LocalTime", "2026-01-31", "2026-01-31T12:00:00", "partner[1].not_before: found a date or time"},
    {"DatesTurned", "2026-01-31", "2027-01-31", "partner[1].not_after: not after not_before"},
    {"BeforeAllTime", "2026-01-31", "1970-01-01", "partner[1].not_before: found 1970-01-01T00:00:00Z"},
    {"AfterAllTime", "2026-12-31T12:00:00+02:00", "1969-12-31", "partner[1].not_after: found 1969-12-31T00:00:00Z"},
    {"WeightTooLarge", "weight = 7", "weight = 1001", "partner[1].weight: found 1001"},
    {"WeightZero", "weight = 7", "weight = 0", "partner[1].weight: found 0"},
    {"FlagThatIsNone", "forbid_bcc = true", "forbid_bcc = 1", "partner[1].message.forbid_bcc: found a whole number"},
    {"RateNegative", "rate_per_second = 10", "rate_per_second = -1", "quota.rate_per_second: found -1"},
    {"BurstAlone", "rate_per_second = 10", "", "partner[1].quota.burst: there is no rate_per_second"},
    {"UnknownKey", "weight = 7", "wheight = 7", "partner[1].wheight: unknown key"},
    {"UnknownQuota", "burst", "brust", "partner[1].quota.brust: unknown key"},
    {"UnknownKind", "\"SURGE\"", "\"surge\"", "partner[1].watch.suspend_on: found \"surge\""},
    {"OddIdentity", "uri:spiffe://example/relay1", "relay1", "relay[0].identity: found \"relay1\""},
    {"UnknownPartner", "[\"own\", \"acme\"]", "[\"acne\"]", "relay[0].partners: there is no partner \"acne\""},
    {"NoPartners", "[\"own\", \"acme\"]", "[]", "relay[0].partners: found an empty list"},
    {"RelaySuspended", "state = \"revoked\"", "state = \"suspended\"", "relay[0].state: found \"suspended\""},
    {"NotToml", "name = \"own\"", "name = ", "not valid TOML"},
};

class BadPolicy : public PolicyFileTest, public testing::WithParamInterface<Bad> {};
TEST_P(BadPolicy, IsNamedWithFileAndLine) {
  std::string text = kFull;
  for (std::size_t at = text.find(GetParam().from); at != std::string::npos;
       at = text.find(GetParam().from, at + std::string(GetParam().to).size())) {
    text.replace(at, std::string(GetParam().from).size(), GetParam().to);
  }
  ASSERT_NE(text, kFull);
  const auto loaded = Load(text);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().reason, Reason::kConfigInvalid);
  EXPECT_THAT(loaded.error().message, HasSubstr(GetParam().said));
  EXPECT_THAT(loaded.error().message, HasSubstr("policy.toml:"));
  EXPECT_THAT(loaded.error().message, HasSubstr("; expected "));
}
INSTANTIATE_TEST_SUITE_P(Table, BadPolicy, testing::ValuesIn(kBad),
                         [](const auto& row) { return std::string(row.param.name); });

// What a start would refuse later, without a line.
TEST_F(PolicyFileTest, OneHostIsOneIdentity) {
  const std::string another = "[[relay]]\nname = \"relay2\"\nidentity = \"dns:relay1.EXAMPLE\"\npartners = [\"own\"]\n";
  const auto loaded = Load(kSmall + another);
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, HasSubstr(":12: relay[1].identity: \"dns:relay1.example\" is used twice"));
}

TEST_F(PolicyFileTest, AListHasAnEnd) {
  const auto with = [](std::size_t addresses) {
    std::string list;
    for (std::size_t i = 0; i < addresses; ++i) list += "\"a" + std::to_string(i) + "@example.com\", ";
    std::string text = kSmall;
    return text.insert(text.find("author_domains"), "addresses = [" + list + "]\n");
  };
  const auto most = Load(with(1000));
  ASSERT_TRUE(most) << most.error().message;
  EXPECT_TRUE(FromApi(*most, {}));
  const auto more = Load(with(1001));
  ASSERT_FALSE(more);
  EXPECT_THAT(more.error().message, HasSubstr("partner[0].addresses: found 1001; expected at most 1000"));
  auto sent = *most;
  sent.mutable_partners(0)->add_addresses("more@example.com");
  EXPECT_THAT(FromApi(sent, {}).error().message, HasSubstr("addresses: expected at most 1000"));
}

TEST_F(PolicyFileTest, EveryMistakeAtOnce) {
  std::string text = kSmall;
  text.replace(text.find("[\"*\"]"), 5, "[\"a b\"]");
  text += "[[relay]]\nname = \"relay1\"\nidentity = \"dns:relay1.example\"\npartners = [\"x\"]\n";
  const std::string said = Load(text).error().message;
  for (const char* line : {"author_domains", "relay[1].name", "relay[1].partners"}) EXPECT_THAT(said, HasSubstr(line));
}

// What a program sends is checked as strictly as a file.
TEST_F(PolicyFileTest, ApiFormIsCheckedToo) {
  using hallmark::admin::v1::Policy;
  const Policy good = *Load(kFull);
  const auto said = [&](auto change) {
    Policy policy = good;
    change(policy);
    const auto read = FromApi(policy, {});
    return read ? std::string() : read.error().message;
  };
  EXPECT_EQ(said([](Policy&) {}), "");
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(1)->set_name("Acme"); }), HasSubstr("name: expected"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(1)->set_name("own"); }), HasSubstr("there twice"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners()->DeleteSubrange(0, 1); }), HasSubstr("own is missing"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(0)->set_state(hallmark::admin::v1::PARTNER_STATE_REVOKED); }),
              HasSubstr("own cannot be revoked"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(1)->clear_author_domains(); }), HasSubstr("author_domains"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(1)->add_addresses("x"); }), HasSubstr("addresses"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(1)->set_weight(-1); }), HasSubstr("weight"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(1)->mutable_quota()->set_messages_per_day(UINT64_MAX); }),
              HasSubstr("quota.messages_per_day"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(1)->mutable_not_after()->set_seconds(-5); }),
              HasSubstr("not_after"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_partners(1)->mutable_watch()->add_suspend_on("x"); }),
              HasSubstr("watch.suspend_on"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_relays(0)->set_identity("x"); }), HasSubstr("relay relay1: identity"));
  EXPECT_THAT(said([](Policy& p) { p.mutable_relays(0)->add_partners("x"); }), HasSubstr("no partner x"));
  EXPECT_THAT(said([](Policy& p) {
                *p.add_relays() = p.relays(0);
                p.mutable_relays(1)->set_name("relay2");
              }),
              HasSubstr("have one identity"));
}

TEST_F(PolicyFileTest, AStateThatIsNotSaidStaysAsItIs) {
  const auto present = FromApi(*Load(kFull), {});
  auto text = *Load(kFull);
  text.mutable_partners(1)->clear_state();
  text.mutable_relays(0)->clear_state();
  const auto kept = FromApi(text, *present);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->partners.at("acme").state, snapshot::PartnerState::kSuspended);
  EXPECT_EQ(kept->relays.at("relay1").state, snapshot::RelayState::kRevoked);
  EXPECT_EQ(FromApi(text, {})->partners.at("acme").state, snapshot::PartnerState::kActive);
}

}  // namespace
}  // namespace hallmark::policy
