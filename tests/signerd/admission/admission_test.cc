#include "signerd/admission/admission.h"

#include <gtest/gtest.h>

#include "sample.h"

namespace hallmark::admission {
namespace {

using snapshot::Alignment;
using snapshot::Domain;
using snapshot::Partner;
using snapshot::PartnerState;
using snapshot::Relay;
using snapshot::Snapshot;

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'800'000'000)};

snapshot::DomainRules Rules(const std::vector<std::string>& texts) { return *snapshot::DomainRules::Parse(texts); }

class Admission : public testing::Test {
 protected:
  Admission() {
    for (const char* name :
         {"example.com", "news.example.com", "example.org", "xn--mnchen-3ya.example", "co.uk", "fedoraproject.org"}) {
      Domain domain{name, std::make_shared<const dkim::PreparedProfile>(dkim::DefaultProfile()), {}};
      domain.active_keys.push_back(std::make_shared<const snapshot::Key>(test::SampleKey(name, "s1")));
      view_.domains.emplace(name, domain);
    }
    view_.domains.emplace("keyless.example", Domain{"keyless.example", view_.domains.at("example.com").profile, {}});
    view_.partners["own"] = test::PartnerForAll("own");
    view_.partners["com"] = test::PartnerForAll("com");
    view_.partners["com"].signing_domains = Rules({"example.com"});
    view_.partners["strict"] = test::PartnerForAll("strict");
    view_.partners["strict"].alignment = Alignment::kStrict;
    view_.partners["off"] = test::PartnerForAll("off");
    view_.partners["off"].alignment = Alignment::kOff;
    view_.partners["off"].signing_domains = Rules({"example.org"});
    AddRelay({"all", "dns:all.example", {"own"}});
    AddRelay({"com", "dns:com.example", {"com"}});
    AddRelay({"many", "uri:spiffe://example/relay", {"com", "strict", "off"}});
    AddRelay({"none", "dns:none.example", {}});
    AddRelay({"gone", "dns:gone.example", {"own"}, snapshot::RelayState::kRevoked});
  }
  void AddRelay(const Relay& relay) { view_.relays.emplace(relay.identity, relay); }
  const Relay& RelayNamed(const std::string& name) const { return *view_.FindRelayByName(name); }

  // Decides about a message with this header block.
  Result<Decision> DecideOn(const std::string& block, const std::string& relay, const std::string& partner = "",
                            const std::string& domain = "", std::optional<std::uint64_t> octets = 100,
                            std::size_t recipients = 1, Trace* trace = nullptr) {
    const auto header = dkim::Header::Parse(block);
    EXPECT_TRUE(header);
    return Decide({view_, RelayNamed(relay), partner, domain, *header, octets, recipients, kNow}, trace);
  }
  // As "own" by the relay "all", after `change` of that partner; the reason of the refusal.
  template <class Change>
  std::string ReasonAfter(Change change, const std::string& block = "From: Joe <joe@example.com>\r\n",
                          std::optional<std::uint64_t> octets = 100, std::size_t recipients = 1) {
    Partner own = test::PartnerForAll("own");
    change(own);
    view_.partners["own"] = own;
    const auto decision = DecideOn(block, "all", "", "", octets, recipients);
    return decision ? "" : std::string(ReasonName(decision.error().reason));
  }

  Snapshot view_;
};

TEST_F(Admission, CallerIsTheOneRelayThatItsCertificateNames) {
  const std::vector<std::string> identities = {"dns:unknown.example", "uri:spiffe://example/relay"};
  const auto relay = AdmitCaller(view_, identities);
  ASSERT_TRUE(relay);
  EXPECT_EQ((*relay)->name, "many");
}

TEST_F(Admission, CallerIsRefusedWithoutANameOrWithTwo) {
  const std::vector<std::vector<std::string>> rows = {{},
                                                      {"dns:unknown.example"},
                                                      {"dns:com.example", "dns:all.example"},
                                                      {"uri:com.example"},
                                                      {"com.example"},
                                                      {"DNS:com.example"}};
  for (const auto& identities : rows) {
    const auto relay = AdmitCaller(view_, identities);
    ASSERT_FALSE(relay);
    EXPECT_EQ(relay.error().reason, Reason::kCallerUnknown);
  }
}

TEST_F(Admission, ARevokedRelayIsRefused) {
  const std::vector<std::string> identities = {"dns:gone.example"};
  EXPECT_EQ(AdmitCaller(view_, identities).error().reason, Reason::kCertificateRevoked);
  EXPECT_EQ(DecideOn("From: a@example.com\r\n", "gone").error().reason, Reason::kCertificateRevoked);
}

TEST_F(Admission, PartnerOfTheRelay) {
  EXPECT_EQ((*FindPartner(view_, RelayNamed("all"), ""))->name, "own");
  EXPECT_EQ((*FindPartner(view_, RelayNamed("com"), ""))->name, "com");
  EXPECT_EQ((*FindPartner(view_, RelayNamed("many"), "off"))->name, "off");
  EXPECT_EQ(FindPartner(view_, RelayNamed("many"), "").error().reason, Reason::kPartnerUnknown);
  EXPECT_EQ(FindPartner(view_, RelayNamed("none"), "").error().reason, Reason::kPartnerUnknown);
  // One that is there and one that is not are refused with the same words.
  const auto other = FindPartner(view_, RelayNamed("all"), "com");
  const auto missing = FindPartner(view_, RelayNamed("all"), "nobody");
  EXPECT_EQ(other.error().reason, Reason::kPartnerNotAllowed);
  EXPECT_EQ(other.error(), missing.error());
}

struct Row {
  const char* relay;
  const char* partner;
  const char* author;
  const char* requested;
  const char* domain;  // null: refused
  Reason reason = Reason::kInternal;
};

constexpr Row kRows[] = {
    {"all", "", "example.com", "", "example.com"},
    {"all", "", "a.b.example.com", "", "example.com"},
    {"all", "", "news.example.com", "", "news.example.com"},
    {"all", "", "deep.news.example.com", "", "news.example.com"},
    {"all", "", "deep.news.example.com", "example.com", "example.com"},
    {"all", "", "deep.news.example.com", "EXAMPLE.com.", "example.com"},
    {"all", "", "xn--mnchen-3ya.example", "m\xc3\xbcnchen.example", "xn--mnchen-3ya.example"},
    {"com", "", "example.com", "", "example.com"},
    {"com", "", "mail.example.com", "", "example.com"},
    // Not a shorter domain instead of the one that it may not use.
    {"com", "", "news.example.com", "", nullptr, Reason::kDomainNotAllowed},
    {"com", "", "example.org", "", nullptr, Reason::kDomainNotAllowed},
    {"com", "", "example.org", "example.org", nullptr, Reason::kDomainNotAllowed},
    // What another tenant has is not told, nor that it has it.
    {"com", "", "example.com", "secret.example", nullptr, Reason::kDomainNotAllowed},
    {"com", "", "secret.example", "", nullptr, Reason::kDomainNotAllowed},
    // Relaxed: the same organizational domain, by the Public Suffix List.
    {"all", "", "example.com", "news.example.com", "news.example.com"},
    {"all", "", "shop.example.com", "news.example.com", "news.example.com"},
    {"all", "", "example.org", "example.com", nullptr, Reason::kNotAligned},
    {"all", "", "fexample.com", "example.com", nullptr, Reason::kNotAligned},
    {"all", "", "one.co.uk", "co.uk", nullptr, Reason::kNotAligned},
    {"all", "", "one.co.uk", "", nullptr, Reason::kNotAligned},
    {"all", "", "mail.fedoraproject.org", "", "fedoraproject.org"},
    // A public suffix between them: whoever is below it is another organization.
    {"all", "", "vm1.cloud.fedoraproject.org", "", nullptr, Reason::kNotAligned},
    {"all", "", "cloud.fedoraproject.org", "", nullptr, Reason::kNotAligned},
    // Strict: the same.
    {"many", "strict", "example.com", "", "example.com"},
    {"many", "strict", "mail.example.com", "", nullptr, Reason::kNotAligned},
    {"many", "strict", "example.com", "news.example.com", nullptr, Reason::kNotAligned},
    // Off: its own domain under any author, where it is asked for.
    {"many", "off", "elsewhere.example", "example.org", "example.org"},
    {"many", "off", "example.org", "", "example.org"},
    {"many", "off", "elsewhere.example", "", nullptr, Reason::kDomainNotAllowed},
    {"many", "off", "example.com", "example.com", nullptr, Reason::kDomainNotAllowed},
    {"all", "", "com", "", nullptr, Reason::kDomainNotConfigured},
    {"all", "", "fexample.com", "", nullptr, Reason::kDomainNotConfigured},
    {"all", "", "other.example", "other.example", nullptr, Reason::kDomainNotConfigured},
    {"all", "", "keyless.example", "", nullptr, Reason::kNoActiveKey},
    {"all", "", "example.com", "exa mple.com", nullptr, Reason::kInvalidArgument},
    {"all", "", "example.com", "example.com;x=1", nullptr, Reason::kInvalidArgument},
    {"all", "", "example.com", "example.com\r\nBcc: x", nullptr, Reason::kInvalidArgument},
};

TEST_F(Admission, SigningDomain) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(std::string(row.relay) + " " + row.partner + " From " + row.author + " as \"" + row.requested + "\"");
    const auto decision =
        DecideOn("From: a@" + std::string(row.author) + "\r\n", row.relay, row.partner, row.requested);
    ASSERT_EQ(decision.has_value(), row.domain != nullptr) << (decision ? "" : decision.error().message);
    if (row.domain != nullptr) {
      EXPECT_EQ(decision->domain->name, row.domain);
    } else {
      EXPECT_EQ(decision.error().reason, row.reason) << decision.error().message;
    }
  }
}

// Which domains are configured must not show in a refusal to one that may use none of them.
TEST_F(Admission, RefusalsAreTheSameForDomainsThatAreThereAndThatAreNot) {
  const auto there = DecideOn("From: a@example.org\r\n", "com").error();
  const auto missing = DecideOn("From: a@example.net\r\n", "com").error();
  EXPECT_EQ(there.reason, missing.reason);
  std::string same = missing.message;
  same.replace(same.find("example.net"), 11, "example.org");
  EXPECT_EQ(there.message, same);
}

TEST_F(Admission, StateAndDates) {
  EXPECT_EQ(ReasonAfter([](Partner&) {}), "");
  EXPECT_EQ(ReasonAfter([](Partner& own) { own.state = PartnerState::kSuspended; }), "PARTNER_SUSPENDED");
  EXPECT_EQ(ReasonAfter([](Partner& own) { own.state = PartnerState::kRevoked; }), "PARTNER_REVOKED");
  using std::chrono::seconds;
  EXPECT_EQ(ReasonAfter([](Partner& own) { own.not_before = kNow; }), "");
  EXPECT_EQ(ReasonAfter([](Partner& own) { own.not_before = kNow + seconds(1); }), "PARTNER_NOT_VALID");
  EXPECT_EQ(ReasonAfter([](Partner& own) { own.not_after = kNow + seconds(1); }), "");
  EXPECT_EQ(ReasonAfter([](Partner& own) { own.not_after = kNow; }), "PARTNER_NOT_VALID");
}

TEST_F(Admission, AuthorDomainAndAddresses) {
  const auto domains = [](const char* rule) { return [rule](Partner& own) { own.author_domains = Rules({rule}); }; };
  EXPECT_EQ(ReasonAfter(domains("example.com")), "");
  EXPECT_EQ(ReasonAfter(domains(".example.com")), "");
  EXPECT_EQ(ReasonAfter(domains("news.example.com")), "AUTHOR_NOT_ALLOWED");
  const auto patterns = [](const char* pattern) {
    return [pattern](Partner& own) { own.addresses = {*snapshot::AddressPattern::Parse(pattern)}; };
  };
  EXPECT_EQ(ReasonAfter(patterns("joe@example.com")), "");
  EXPECT_EQ(ReasonAfter(patterns("j*@*.com")), "");
  EXPECT_EQ(ReasonAfter(patterns("ann@example.com")), "AUTHOR_NOT_ALLOWED");
  // Every author counts, not only the first.
  EXPECT_EQ(ReasonAfter(patterns("joe@example.com"), "From: joe@example.com, ceo@example.com\r\n"),
            "AUTHOR_NOT_ALLOWED");
  EXPECT_EQ(ReasonAfter(patterns("*@example.com"), "From: joe@example.com, ceo@example.com\r\n"), "");
}

TEST_F(Admission, WhatIsNoAuthorIsRefusedAsBefore) {
  const auto nothing = [](Partner&) {};
  EXPECT_EQ(ReasonAfter(nothing, "To: a@example.com\r\n"), "FROM_MISSING");
  EXPECT_EQ(ReasonAfter(nothing, "From: a@example.com\r\nFrom: b@example.com\r\n"), "FROM_REPEATED");
  EXPECT_EQ(ReasonAfter(nothing, "From: a@example.com, b@example.org\r\n"), "FROM_UNUSABLE");
}

TEST_F(Admission, HeaderFields) {
  const auto forbid = [](Partner& own) { own.message.forbid_bcc = true; };
  const std::string from = "From: a@example.com\r\n";
  EXPECT_EQ(ReasonAfter(forbid, from), "");
  EXPECT_EQ(ReasonAfter(forbid, from + "BCC: x@example.org\r\n"), "FIELD_FORBIDDEN");
  EXPECT_EQ(ReasonAfter(forbid, from + "Resent-Bcc:\r\n"), "FIELD_FORBIDDEN");
  const auto date = [](Partner& own) { own.message.require_date = true; };
  EXPECT_EQ(ReasonAfter(date, from), "FIELD_REQUIRED");
  EXPECT_EQ(ReasonAfter(date, from + "date: today\r\n"), "");
  const auto id = [](Partner& own) { own.message.require_message_id = true; };
  EXPECT_EQ(ReasonAfter(id, from), "FIELD_REQUIRED");
  EXPECT_EQ(ReasonAfter(id, from + "Message-Id: <1@x>\r\n"), "");
}

TEST_F(Admission, SizeAndRecipients) {
  const auto octets = [](Partner& own) { own.message.max_octets = 100; };
  const std::string from = "From: a@example.com\r\n";
  EXPECT_EQ(ReasonAfter(octets, from, 100), "");
  EXPECT_EQ(ReasonAfter(octets, from, 101), "SIZE_NOT_ALLOWED");
  EXPECT_EQ(ReasonAfter(octets, from, std::nullopt), "") << "it is asked again when the size is known";
  EXPECT_FALSE(CheckSize(view_.partners.at("own"), 101));
  const auto recipients = [](Partner& own) { own.quota.recipients_per_message = 2; };
  EXPECT_EQ(ReasonAfter(recipients, from, 100, 2), "");
  EXPECT_EQ(ReasonAfter(recipients, from, 100, 3), "RECIPIENTS_EXCEEDED");
}

TEST_F(Admission, TraceEndsWithTheRuleThatRefuses) {
  Trace trace;
  EXPECT_TRUE(DecideOn("From: a@example.com\r\n", "all", "", "", 100, 1, &trace));
  ASSERT_EQ(trace.size(), RuleNames().size());
  for (std::size_t i = 0; i < trace.size(); ++i) {
    EXPECT_EQ(trace[i].rule, RuleNames()[i]);
    EXPECT_TRUE(trace[i].passed);
    EXPECT_NE(trace[i].sentence, "");
  }
  trace.clear();
  const auto refused = DecideOn("From: a@example.org\r\n", "com", "", "", 100, 1, &trace);
  ASSERT_FALSE(refused);
  EXPECT_EQ(trace.back().rule, "signing domain");
  EXPECT_FALSE(trace.back().passed);
  EXPECT_EQ(trace.back().sentence, refused.error().message);
}

TEST_F(Admission, StillAllowed) {
  const Relay relay = RelayNamed("com");
  const Partner partner = view_.partners.at("com");
  EXPECT_TRUE(CheckStillAllowed(view_, relay, "ab12", partner));
  view_.revoked_certificates = {"ab12"};
  EXPECT_EQ(CheckStillAllowed(view_, relay, "ab12", partner).error().reason, Reason::kCertificateRevoked);
  EXPECT_TRUE(CheckStillAllowed(view_, relay, "cd34", partner));
  view_.revoked_certificates.clear();
  view_.partners["com"].state = PartnerState::kSuspended;
  EXPECT_EQ(CheckStillAllowed(view_, relay, "ab12", partner).error().reason, Reason::kPartnerSuspended);
  view_.partners.erase("com");
  EXPECT_EQ(CheckStillAllowed(view_, relay, "ab12", partner).error().reason, Reason::kPartnerRevoked);
  view_.relays.erase(relay.identity);
  EXPECT_EQ(CheckStillAllowed(view_, relay, "ab12", partner).error().reason, Reason::kCertificateRevoked);
}

}  // namespace
}  // namespace hallmark::admission
