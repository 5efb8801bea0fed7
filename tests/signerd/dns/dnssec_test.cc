#include "signerd/dns/dnssec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "answers.h"
#include "firmware/runtime/clock.h"
#include "knot.h"
#include "signerd/dns/observer.h"

namespace hallmark::dns {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Field;
using testing::HasSubstr;
using Kind = ServerAnswer::Kind;

constexpr char kResolver[] = "127.0.1.9";
constexpr char kGood[] = "v=DKIM1; p=good";

// signed.test is signed, with one of three kinds of denial, at ns1; ns3 serves a copy with a record changed. Below it
// are child.signed.test (signed, with DS), unsigned.signed.test (delegated without DS) and stripped.signed.test (with a
// DS record, but not signed).
class DnssecTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    port_ = Knot::FreePort();
    const std::string child =
        "@ NS ns\nns A 127.0.1.2\nsel TXT \"v=DKIM1; p=good\"\nalias CNAME sel.unsigned.signed.test.\n"
        "toparent CNAME sel.signed.test.\n";
    child_ = Knot::Start("127.0.1.2", port_, {{.name = "child.signed.test", .records = child, .sign = true}});
    ASSERT_NE(child_, nullptr) << "knotd does not start";
    const std::string ds = child_->Ds("child.signed.test");
    ASSERT_THAT(ds, HasSubstr(" DS "));
    const std::string records =
        "@ NS ns1\n@ NS ns3\nns1 A 127.0.1.1\nns3 A 127.0.1.3\nsel TXT \"v=DKIM1; p=good\"\n"
        "_domainkey.deep TXT \"v=DKIM1; p=good\"\n*.wild TXT \"v=DKIM1; p=good\"\nalias CNAME sel.child\n"
        "child NS ns.child\nns.child A 127.0.1.2\n" +
        ds +
        "unsigned NS ns1\nbelow.unsigned NS ns1\nstripped NS ns1\n"
        "stripped DS 12345 13 2 " +
        std::string(64, 'a') + "\n";
    const std::string plain = "@ NS ns1.signed.test.\nsel TXT \"v=DKIM1; p=good\"\n";
    parent_ = Knot::Start("127.0.1.1", port_,
                          {{.name = "signed.test", .records = records, .sign = true, .denial = GetParam()},
                           {.name = "unsigned.signed.test", .records = plain},
                           {.name = "stripped.signed.test", .records = plain}});
    ASSERT_NE(parent_, nullptr) << "knotd does not start";
    std::string forged = parent_->ZoneFile("signed.test");
    const std::size_t at = forged.find("\"v=DKIM1; p=good\"", forged.find("\nsel.signed.test."));
    ASSERT_NE(at, std::string::npos) << forged;
    forged.replace(at, 17, "\"v=DKIM1; p=evil\"");
    forger_ = Knot::Start("127.0.1.3", port_, {{.name = "signed.test", .file = forged}});
    ASSERT_NE(forger_, nullptr) << "knotd does not start";
    resolver_ = Knot::Start(kResolver, port_,
                            {{.name = "signed.test", .primary = "127.0.1.1"},
                             {.name = "unsigned.signed.test", .primary = "127.0.1.1"},
                             {.name = "stripped.signed.test", .primary = "127.0.1.1"},
                             {.name = "child.signed.test", .primary = "127.0.1.2"}});
    ASSERT_NE(resolver_, nullptr) << "knotd does not start";
    anchor_ = std::filesystem::path(testing::TempDir()) / ("hallmark-anchor-" + std::to_string(port_));
    std::ofstream(anchor_) << "; of the test\n" << parent_->Ds("signed.test");
  }
  void TearDown() override { std::filesystem::remove(anchor_); }

  Observation Observe(const std::string& name, const Clock* clock = nullptr) {
    ObserverOptions options;
    options.resolver = Nameserver{kResolver, port_};
    options.port = port_;
    options.timeout = std::chrono::seconds(5);
    options.trust_anchor = anchor_;
    options.clock = clock;
    auto observer = Observer::Create(options);
    EXPECT_TRUE(observer) << observer.error().message;
    auto seen = observer->ObserveTxt(name);
    EXPECT_TRUE(seen) << seen.error().message;
    return seen ? *seen : Observation{};
  }
  static std::vector<Kind> KindsAt(const Observation& seen, const std::string& address) {
    std::vector<Kind> kinds;
    for (const auto& answer : seen.servers) {
      if (answer.server.find(address) != std::string::npos) kinds.push_back(answer.kind);
    }
    return kinds;
  }
  static std::string Details(const Observation& seen) {
    std::string details;
    for (const auto& answer : seen.servers) details += answer.server + ": " + answer.detail + "\n";
    return details;
  }

  std::uint16_t port_ = 0;
  std::unique_ptr<Knot> child_, parent_, forger_, resolver_;
  std::filesystem::path anchor_;
};

TEST_P(DnssecTest, GoodAnswersAreSecureAndForgedOnesBogus) {
  const Observation seen = Observe("sel.signed.test");
  EXPECT_TRUE(seen.secure) << Details(seen);
  EXPECT_THAT(KindsAt(seen, "127.0.1.1"), testing::ElementsAre(Kind::kRecord, Kind::kRecord)) << Details(seen);
  EXPECT_THAT(KindsAt(seen, "127.0.1.3"), testing::ElementsAre(Kind::kBogus, Kind::kBogus)) << Details(seen);
  EXPECT_FALSE(AllHave(seen, kGood));
  EXPECT_THAT(Details(seen), HasSubstr("DNSSEC: sel.signed.test. TXT"));
}

TEST_P(DnssecTest, UntouchedRecordsAreGoodEverywhere) {
  for (const char* name : {"_domainkey.deep.signed.test", "a.wild.signed.test"}) {
    SCOPED_TRACE(name);
    const Observation seen = Observe(name);
    EXPECT_TRUE(seen.secure);
    EXPECT_TRUE(AllHave(seen, kGood)) << Details(seen);
  }
}

TEST_P(DnssecTest, ChainGoesThroughDs) {
  const Observation seen = Observe("sel.child.signed.test");
  EXPECT_TRUE(seen.secure) << Details(seen);
  EXPECT_TRUE(AllHave(seen, kGood)) << Details(seen);
}

TEST_P(DnssecTest, ZoneThatIsProvedUnsignedIsTakenAsItIs) {
  const Observation seen = Observe("sel.unsigned.signed.test");
  EXPECT_FALSE(seen.secure);
  EXPECT_TRUE(AllHave(seen, kGood)) << Details(seen);
}

TEST_P(DnssecTest, AliasIsSecureOnlyWhereEveryZoneIs) {
  const Observation good = Observe("alias.signed.test");
  EXPECT_EQ(good.name, "sel.child.signed.test.");
  EXPECT_TRUE(good.secure);
  EXPECT_TRUE(AllHave(good, kGood)) << Details(good);
  const Observation half = Observe("alias.child.signed.test");
  EXPECT_EQ(half.name, "sel.unsigned.signed.test.");
  EXPECT_FALSE(half.secure);
  EXPECT_TRUE(AllHave(half, kGood)) << Details(half);
}

TEST_P(DnssecTest, ZoneThatShouldBeSignedAndIsNotIsBogus) {
  const Observation seen = Observe("sel.stripped.signed.test");
  EXPECT_FALSE(seen.secure);
  EXPECT_THAT(seen.servers, Each(Field(&ServerAnswer::kind, Kind::kBogus)));
  EXPECT_THAT(Details(seen), HasSubstr("no DNSKEY of stripped.signed.test."));
}

TEST_P(DnssecTest, SignaturesHaveTheirTime) {
  const auto now = SystemClock().Now();
  for (const auto& time : {now + std::chrono::days(60), now - std::chrono::days(60)}) {
    const ManualClock clock(time);
    const Observation seen = Observe("sel.child.signed.test", &clock);
    EXPECT_THAT(seen.servers, Each(Field(&ServerAnswer::kind, Kind::kBogus)));
    EXPECT_THAT(Details(seen), HasSubstr("DNSSEC signature"));
  }
}

TEST_P(DnssecTest, AnotherAnchorMakesEverythingBogus) {
  std::ofstream(anchor_) << "signed.test. IN DS 12345 13 2 " << std::string(64, 'b') << "\n";
  const Observation seen = Observe("sel.child.signed.test");
  EXPECT_THAT(seen.servers, Each(Field(&ServerAnswer::kind, Kind::kBogus)));
  EXPECT_THAT(Details(seen), HasSubstr("no DNSKEY of signed.test."));
}

TEST_P(DnssecTest, OutsideOfEveryAnchorNothingIsValidated) {
  std::ofstream(anchor_) << "elsewhere.test. IN DS 12345 13 2 " << std::string(64, 'b') << "\n";
  const Observation seen = Observe("sel.signed.test");
  EXPECT_FALSE(seen.secure);
  EXPECT_THAT(seen.servers, Each(Field(&ServerAnswer::kind, Kind::kRecord)));
}

TEST_P(DnssecTest, WithoutAnAnchorNothingIsValidated) {
  anchor_.clear();
  const Observation seen = Observe("sel.signed.test");
  EXPECT_FALSE(seen.secure);
  EXPECT_THAT(seen.servers, Each(Field(&ServerAnswer::kind, Kind::kRecord)));
}

// The resolver says that a signed zone has no DS record, without a proof.
TEST_P(DnssecTest, ResolverThatHidesDsIsNotBelieved) {
  resolver_.reset();
  std::string stripped;
  std::istringstream lines(parent_->ZoneFile("signed.test"));
  for (std::string line; std::getline(lines, line);) {
    const bool hidden = line.starts_with("child.signed.test.") && line.find("DS\t") != std::string::npos;
    if (!hidden && line.find("\tNSEC") == std::string::npos && line.find(" NSEC") == std::string::npos)
      stripped += line + "\n";
  }
  resolver_ =
      Knot::Start(kResolver, port_,
                  {{.name = "signed.test", .file = stripped}, {.name = "child.signed.test", .primary = "127.0.1.2"}});
  ASSERT_NE(resolver_, nullptr);
  const Observation seen = Observe("sel.child.signed.test");
  EXPECT_THAT(seen.servers, Each(Field(&ServerAnswer::kind, Kind::kBogus)));
  EXPECT_THAT(Details(seen), HasSubstr("no valid proof"));
}

INSTANTIATE_TEST_SUITE_P(Denial, DnssecTest, testing::Values("nsec", "nsec3", "optout"),
                         [](const auto& row) { return std::string(row.param); });

TEST(TrustAnchors, AreRecordsInZoneFileForm) {
  const auto good = ParseTrustAnchors(
      "; comment\n# comment\n\n. 172800 IN DS 20326 8 2 "
      "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\r\n"
      "example.test. DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=");
  ASSERT_TRUE(good) << good.error().message;
  EXPECT_EQ(ldns_rr_list_rr_count(good->get()), 2u);
  for (const char* bad : {"", "; nothing", ". TXT \"x\"", "hello", ". DS 20326 8", ". DS x 8 2 AB"}) {
    const auto parsed = ParseTrustAnchors(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().reason, Reason::kConfigInvalid);
  }
}

}  // namespace
}  // namespace hallmark::dns
