#include "tools/posture/posture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "signerd/dkim/key_record.h"
#include "tools/posture/bimi.h"
#include "tools/posture/dkim.h"
#include "tools/posture/dmarc_record.h"
#include "tools/posture/report_uri.h"
#include "tools/posture/spf_record.h"
#include "tools/posture/suggest.h"
#include "tools/posture/transport.h"

// What the zones of tests/integration/posture_zones.py do not reach: the corners of the grammars, and servers that
// fail.
namespace hallmark::posture {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Not;

struct SpfCase {
  const char* name;
  std::string_view text;
  bool good;
};
const SpfCase kSpf[] = {
    {"VersionAlone", "v=spf1", true},
    {"BlanksAtTheEnd", "v=spf1  -all  ", true},
    {"EveryQualifier", "v=spf1 +a -mx ~ptr ?all", true},
    {"DualPrefixes", "v=spf1 a/24 a//64 a/24//64 mx:example.com/0//0", true},
    {"NoMaskOfIp6ForA", "v=spf1 a/24/64", false},
    {"PrefixWithoutNumber", "v=spf1 a:example.com/", false},
    {"Ip6", "v=spf1 ip6:2001:db8::/32 ip6:::1 ip6:::ffff:192.0.2.1", true},
    {"Ip6PrefixTooLong", "v=spf1 ip6:2001:db8::/129", false},
    {"Ip4InIp6", "v=spf1 ip6:192.0.2.1", false},
    {"Ip4Short", "v=spf1 ip4:192.0.2", false},
    {"Ip4WithoutAddress", "v=spf1 ip4", false},
    {"AllWithArgument", "v=spf1 all:example.com", false},
    {"AllWithPrefix", "v=spf1 -all/8", false},
    {"IncludeWithPrefix", "v=spf1 include:example.com/24", false},
    {"IncludeAlone", "v=spf1 include", false},
    {"PtrAlone", "v=spf1 ptr", true},
    {"PtrOfDomain", "v=spf1 ptr:example.com", true},
    {"DomainWithoutDot", "v=spf1 a:localhost", false},
    {"DomainEndsWithDot", "v=spf1 a:example.com.", true},
    {"TopLabelOfDigits", "v=spf1 a:192.0.2.1", false},
    {"TopLabelWithHyphen", "v=spf1 a:example.xn--p1ai", true},
    {"Underscore", "v=spf1 include:_spf.example.com", true},
    {"EndsWithMacro", "v=spf1 exists:%{ir}.%{v}._spf.%{d2}", true},
    {"MacroOfEveryKind", "v=spf1 exists:%{s}%{l}%{o}%{d}%{i}%{p}%{h}%{v}%%%_%-.example.com", true},
    {"MacroInUpperCase", "v=spf1 exists:%{I}.example.com", true},
    {"MacroWithDelimiters", "v=spf1 exists:%{l2r+-}.example.com", true},
    {"MacroOfZeroParts", "v=spf1 exists:%{d0}.example.com", false},
    {"MacroOfExplanationsOnly", "v=spf1 exists:%{c}.example.com", false},
    {"MacroThatIsNone", "v=spf1 exists:%{z}.example.com", false},
    {"MacroThatIsOpen", "v=spf1 exists:%{d.example.com", false},
    {"MacroThatIsEmpty", "v=spf1 exists:%{}.example.com", false},
    {"PercentAlone", "v=spf1 exists:%.example.com", false},
    {"BraceIsNoMacro", "v=spf1 exists:example.com}", false},
    {"TwoQualifiers", "v=spf1 --all", false},
    {"QualifierAlone", "v=spf1 -", false},
    {"NotAscii", "v=spf1 a:ex\xc3\xa4mple.com", false},
    {"UnknownModifier", "v=spf1 match.sub_1-x=%{d}/a:b -all", true},
    {"ModifierWithBadMacro", "v=spf1 x=%(d)", false},
    {"ModifierWithBlankName", "v=spf1 =x", false},
    {"TwoExplanations", "v=spf1 exp=a.example.com exp=b.example.com", false},
    {"RedirectWithoutDomain", "v=spf1 redirect=", false},
    {"MechanismWithEquals", "v=spf1 include=example.com", true},  // an unknown modifier, alas
    {"ExistsWithEquals", "v=spf1 exists:a=b.example.com", true},
};
class SpfGrammar : public testing::TestWithParam<SpfCase> {};
TEST_P(SpfGrammar, IsThatOfRfc7208) {
  ASSERT_TRUE(IsSpf(GetParam().text));
  const auto record = ParseSpf(GetParam().text);
  EXPECT_EQ(record.has_value(), GetParam().good) << (record ? "" : record.error().message);
}
INSTANTIATE_TEST_SUITE_P(Records, SpfGrammar, testing::ValuesIn(kSpf),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(SpfRecord, HasWhatIsWritten) {
  const auto record = ParseSpf("v=spf1 ~MX:Mail.example.com/28//64 ip4:192.0.2.0/24 redirect=x.test -all a");
  ASSERT_TRUE(record);
  ASSERT_EQ(record->terms.size(), 4u);
  const SpfTerm& mx = record->terms[0];
  EXPECT_EQ(mx.mechanism, SpfMechanism::kMx);
  EXPECT_EQ(mx.qualifier, '~');
  EXPECT_EQ(mx.domain_spec, "Mail.example.com");
  EXPECT_EQ(mx.ip4_prefix, 28u);
  EXPECT_EQ(mx.ip6_prefix, 64u);
  EXPECT_EQ(record->terms[1].address, "192.0.2.0");
  EXPECT_EQ(record->terms[1].ip4_prefix, 24u);
  EXPECT_EQ(record->All()->qualifier, '-');
  EXPECT_EQ(record->redirect, "x.test");
  EXPECT_THAT(record->after_all, ElementsAre("a"));
}

TEST(SpfRecord, IsWrittenWithoutAMechanism) {
  const auto record = ParseSpf("v=spf1 exp=e.test include:a.test x=y ip4:192.0.2.1 include:a.test redirect=b.test");
  ASSERT_TRUE(record);
  EXPECT_EQ(SpfText(SpfWithout(*record, "include:a.test")), "v=spf1 ip4:192.0.2.1 x=y redirect=b.test exp=e.test");
}

struct LettingIn {
  const char* name;
  const char* text;
  bool lets_in;
};
const LettingIn kLettingIn[] = {
    {"Nothing", "v=spf1", false},
    {"AllRefused", "v=spf1 -all", false},
    {"AllDoubtful", "v=spf1 ~all", false},
    {"Everybody", "v=spf1 all", true},
    {"AHost", "v=spf1 -ip4:192.0.2.1 a -all", true},
    {"AHostThatIsRefused", "v=spf1 -a -all", false},
    {"BehindAll", "v=spf1 -all a", false},
    {"Redirect", "v=spf1 redirect=a.test", true},
    {"RedirectBesideAll", "v=spf1 -all redirect=a.test", false},
};
class SpfLetsIn : public testing::TestWithParam<LettingIn> {};
TEST_P(SpfLetsIn, SomebodyOrNobody) {
  const auto record = ParseSpf(GetParam().text);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->LetsIn(), GetParam().lets_in);
}
INSTANTIATE_TEST_SUITE_P(Records, SpfLetsIn, testing::ValuesIn(kLettingIn),
                         [](const auto& row) { return std::string(row.param.name); });

const LettingIn kMeantToLetIn[] = {
    {"None", "v=spf1", false},
    {"Ip4", "v=spf1 ip4=192.0.2.1 -all", true},
    {"IncludeInUpperCase", "v=spf1 mx INCLUDE=a.test -all", true},
    {"BesideAnother", "v=spf1 x=y a=b.test -all", true},
    {"NameBeginsAsAMechanisms", "v=spf1 a-b=c mx.d=e -all", false},
    {"RedirectWithASpellingMistake", "v=spf1 redirct=a.test", true},
    {"BesideHosts", "v=spf1 mx redirct=a.test", true},
    {"BesideAll", "v=spf1 redirct=a.test -all", false},
    {"BesideTheRedirect", "v=spf1 x=y redirect=a.test", false},
};
class SpfMayMeanToLetIn : public testing::TestWithParam<LettingIn> {};
TEST_P(SpfMayMeanToLetIn, ByWhatIsNotDefined) {
  const auto record = ParseSpf(GetParam().text);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->MayMeanToLetIn(), GetParam().lets_in);
}
INSTANTIATE_TEST_SUITE_P(Records, SpfMayMeanToLetIn, testing::ValuesIn(kMeantToLetIn),
                         [](const auto& row) { return std::string(row.param.name); });

// RFC 7208 section 7.4, as far as the domain decides.
TEST(SpfMacros, OfTheDomainAreReplaced) {
  const std::string domain = "email.example.com";
  EXPECT_EQ(ExpandForDomain("%{d}", domain), "email.example.com");
  EXPECT_EQ(ExpandForDomain("%{d4}", domain), "email.example.com");
  EXPECT_EQ(ExpandForDomain("%{d3}", domain), "email.example.com");
  EXPECT_EQ(ExpandForDomain("%{d2}", domain), "example.com");
  EXPECT_EQ(ExpandForDomain("%{d1}", domain), "com");
  EXPECT_EQ(ExpandForDomain("%{dr}", domain), "com.example.email");
  EXPECT_EQ(ExpandForDomain("%{d2r}", domain), "example.email");
  EXPECT_EQ(ExpandForDomain("%{d2-}.x.", domain), "email.example.com.x");
  EXPECT_EQ(ExpandForDomain("A%%%-.%{D}", domain), "a%%20.email.example.com");
  EXPECT_EQ(ExpandForDomain("%{i}.example.com", domain), std::nullopt);
  EXPECT_EQ(ExpandForDomain("%{l}.%{d}", domain), std::nullopt);
}

struct UriCase {
  const char* name;
  std::string_view text;
  bool good, good_with_size;
};
const UriCase kUris[] = {
    {"Mailto", "mailto:dmarc@example.com", true, true},
    {"MailtoInUpperCase", "MAILTO:dmarc@Example.COM", true, true},
    {"MailtoWithQuery", "mailto:dmarc@example.com?subject=x", true, true},
    {"MailtoWithSize", "mailto:dmarc@example.com!10M", false, true},
    {"SizeOfOctets", "mailto:dmarc@example.com!1000", false, true},
    {"SizeWithoutNumber", "mailto:dmarc@example.com!m", false, false},
    {"SizeTwice", "mailto:dmarc@example.com!1m!2m", false, false},
    {"Https", "https://example.com:8443/report?x", true, true},
    {"Http", "http://example.com/", false, false},
    {"NoScheme", "dmarc@example.com", false, false},
    {"NoLocalPart", "mailto:@example.com", false, false},
    {"NoDomain", "mailto:dmarc@", false, false},
    {"NoMailbox", "mailto:", false, false},
    {"Blank", "mailto:dmarc@ example.com", false, false},
    {"NotAscii", "mailto:d\xc3\xa4@example.com", false, false},
    {"NextAddress", "mailto:a@example.com,b@example.com", false, false},
    {"NextTag", "mailto:dmarc@example.com;p=none", false, false},
    {"MarksAsTheyMustBeWritten", "https://example.com/a%2Cb%3Bc%21", true, true},
    {"Empty", "", false, false},
};
class ReportUriText : public testing::TestWithParam<UriCase> {};
TEST_P(ReportUriText, IsTakenOrNot) {
  EXPECT_EQ(ParseReportUri(GetParam().text, false).has_value(), GetParam().good);
  EXPECT_EQ(ParseReportUri(GetParam().text, true).has_value(), GetParam().good_with_size);
}
INSTANTIATE_TEST_SUITE_P(Addresses, ReportUriText, testing::ValuesIn(kUris),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(DmarcRecord, IsChangedInOneTag) {
  const auto record = ParseDmarc("v=DMARC1;p=none; pct=50;rua=mailto:d@example.com;");
  ASSERT_TRUE(record);
  EXPECT_EQ(WithTag(*record, "p", "reject"), "v=DMARC1; p=reject; pct=50; rua=mailto:d@example.com");
  EXPECT_EQ(WithTag(*record, "pct", ""), "v=DMARC1; p=none; rua=mailto:d@example.com");
  EXPECT_EQ(WithTag(*record, "sp", "reject"), "v=DMARC1; p=none; pct=50; rua=mailto:d@example.com; sp=reject");
}

TEST(DmarcRecord, IsChangedInSeveralTags) {
  const auto record = ParseDmarc("v=DMARC1; p=none; pct=50; t=y");
  ASSERT_TRUE(record);
  EXPECT_EQ(WithTags(*record, {{"p", "quarantine"}, {"pct", ""}, {"sp", ""}, {"np", "reject"}}),
            "v=DMARC1; p=quarantine; t=y; np=reject");
}

std::vector<std::string_view> Ids(const Report& report) {
  std::vector<std::string_view> ids;
  for (const Finding& finding : report.findings()) ids.push_back(finding.kind->id);
  return ids;
}

constexpr char kRevoked[] = "v=DKIM1; p=";
constexpr char kUsable[] = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

struct UseCase {
  const char* name;
  KeyUse use;
  const char* record;  // null: none
  std::vector<std::string_view> ids;
};
const UseCase kUses[] = {
    {"NamedNone", KeyUse::kNamed, nullptr, {"DKIM_RECORD_MISSING"}},
    {"NamedRevoked", KeyUse::kNamed, kRevoked, {"DKIM_REVOKED"}},
    {"UpcomingNone", KeyUse::kUpcoming, nullptr, {"DKIM_RECORD_PENDING"}},
    {"UpcomingThere", KeyUse::kUpcoming, kUsable, {}},
    {"UpcomingRevoked", KeyUse::kUpcoming, kRevoked, {"DKIM_REVOKED"}},
    {"ActiveNone", KeyUse::kActive, nullptr, {"DKIM_RECORD_MISSING"}},
    {"ActiveThere", KeyUse::kActive, kUsable, {"DKIM_ONLY_ED25519"}},
    {"ActiveRevoked", KeyUse::kActive, kRevoked, {"DKIM_REVOKED"}},
    {"RetiringNone", KeyUse::kRetiring, nullptr, {"DKIM_RECORD_GONE_EARLY"}},
    {"RetiringThere", KeyUse::kRetiring, kUsable, {}},
    {"RetiringRevoked", KeyUse::kRetiring, kRevoked, {"DKIM_REVOKED"}},
    {"RevokedNone", KeyUse::kRevoked, nullptr, {}},
    {"RevokedThere", KeyUse::kRevoked, kUsable, {"DKIM_REVOKED_KEY_PUBLISHED"}},
    {"RevokedRevoked", KeyUse::kRevoked, kRevoked, {}},
    {"WithdrawnNone", KeyUse::kWithdrawn, nullptr, {}},
    {"WithdrawnThere", KeyUse::kWithdrawn, kUsable, {"DKIM_RECORD_LEFT_OVER"}},
    {"WithdrawnRevoked", KeyUse::kWithdrawn, kRevoked, {"DKIM_RECORD_LEFT_OVER"}},
};
class RecordOfAKey : public testing::TestWithParam<UseCase> {};
TEST_P(RecordOfAKey, IsJudgedByItsUse) {
  const Lookup lookup = [](const std::string&, dns::RecordType) -> Result<dns::Answer> {
    if (GetParam().record == nullptr) return dns::Answer{{}, false, ""};
    return dns::Answer{{GetParam().record}, true, ""};
  };
  Report report;
  Dns dns(lookup, report);
  CheckDkim("example.com", {{"s", GetParam().use, {}, ""}}, "", dns, report);
  EXPECT_EQ(Ids(report), GetParam().ids);
}
INSTANTIATE_TEST_SUITE_P(Uses, RecordOfAKey, testing::ValuesIn(kUses),
                         [](const auto& row) { return std::string(row.param.name); });

struct AliasCase {
  const char* name;
  KeyUse use;
  bool by_dname;
  std::vector<std::string_view> ids;
};
const AliasCase kAliases[] = {
    {"CnameNamed", KeyUse::kNamed, false, {"ALIAS_BROKEN"}},
    {"CnameUpcoming", KeyUse::kUpcoming, false, {"DKIM_RECORD_PENDING"}},
    {"CnameActive", KeyUse::kActive, false, {"ALIAS_BROKEN"}},
    {"CnameRetiring", KeyUse::kRetiring, false, {"ALIAS_BROKEN"}},
    {"CnameRevoked", KeyUse::kRevoked, false, {}},
    {"CnameWithdrawn", KeyUse::kWithdrawn, false, {"DKIM_RECORD_LEFT_OVER"}},
    {"DnameUpcoming", KeyUse::kUpcoming, true, {"DKIM_RECORD_PENDING"}},
    {"DnameActive", KeyUse::kActive, true, {"DKIM_RECORD_MISSING"}},
    {"DnameRetiring", KeyUse::kRetiring, true, {"DKIM_RECORD_GONE_EARLY"}},
    {"DnameRevoked", KeyUse::kRevoked, true, {}},
    {"DnameWithdrawn", KeyUse::kWithdrawn, true, {}},
};
class AliasToNowhere : public testing::TestWithParam<AliasCase> {};
TEST_P(AliasToNowhere, IsJudgedByWhoseItIs) {
  const Lookup lookup = [](const std::string&, dns::RecordType) -> Result<dns::Answer> {
    return dns::Answer{{}, false, "s.example.com.keys.example.net", GetParam().by_dname};
  };
  Report report;
  Dns dns(lookup, report);
  CheckDkim("example.com", {{"s", GetParam().use, {}, ""}}, "", dns, report);
  EXPECT_EQ(Ids(report), GetParam().ids);
}
INSTANTIATE_TEST_SUITE_P(Uses, AliasToNowhere, testing::ValuesIn(kAliases),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(RecordOfAnyKey, BelowADnameIsLeftOverWhereItLeads) {
  const Lookup lookup = [](const std::string&, dns::RecordType) -> Result<dns::Answer> {
    return dns::Answer{{kRevoked}, true, "s.example.com.keys.example.net", true};
  };
  Report report;
  Dns dns(lookup, report);
  CheckDkim("example.com", {{"s", KeyUse::kWithdrawn, {}, ""}}, "", dns, report);
  EXPECT_THAT(Ids(report), ElementsAre("DKIM_RECORD_LEFT_OVER"));
}

// Nothing can stand below a DNAME: the alias is there by itself.
TEST(RecordOfAnyKey, BelowADnameIsPublishedWithoutAnAlias) {
  const auto record = dkim::ParseKeyRecord(kUsable);
  ASSERT_TRUE(record);
  const auto key = dkim::PublicKey::FromRecordData(record->algorithm, record->public_data);
  ASSERT_TRUE(key);
  const std::string kept_at = "s.example.com.keys.example.net", owner = "s._domainkey.example.com";
  for (const bool by_dname : {false, true}) {
    const Lookup lookup = [&](const std::string&, dns::RecordType) -> Result<dns::Answer> {
      return dns::Answer{{}, false, kept_at, by_dname};
    };
    Report report;
    Dns dns(lookup, report);
    CheckDkim("example.com", {{"s", KeyUse::kUpcoming, key->Spki(), kept_at}}, "", dns, report);
    ASSERT_THAT(Ids(report), ElementsAre("DKIM_RECORD_PENDING"));
    std::vector<std::string> lines{TxtLine(kept_at, kUsable)};
    if (!by_dname) lines.insert(lines.begin(), AliasLine(owner, kept_at));
    EXPECT_EQ(report.findings().front().publish, lines);
  }
}

struct VersionCase {
  const char* name;
  const char* text;
  bool (*is)(std::string_view);
  bool found;
};
const VersionCase kVersions[] = {
    {"Sts", "v=STSv1; id=1;", &IsMtaSts, true},
    {"StsBlankInFront", " v=STSv1; id=1;", &IsMtaSts, false},
    {"StsBlanksAroundEquals", "v = STSv1; id=1;", &IsMtaSts, false},
    {"StsBlankBeforeSemicolon", "v=STSv1 ; id=1;", &IsMtaSts, false},
    {"StsWithoutSemicolon", "v=STSv1", &IsMtaSts, false},
    {"StsOfAnotherVersion", "v=STSv10; id=1;", &IsMtaSts, false},
    {"Tls", "v=TLSRPTv1;rua=mailto:d@example.com", &IsTlsRpt, true},
    {"TlsBlankInFront", " v=TLSRPTv1; rua=mailto:d@example.com", &IsTlsRpt, false},
    {"TlsBlanksAroundEquals", "v= TLSRPTv1; rua=mailto:d@example.com", &IsTlsRpt, false},
    {"Dmarc", "v=DMARC1", &IsDmarc, true},
    {"DmarcBlanksAroundEquals", "v = DMARC1 ; p=none", &IsDmarc, true},
    {"DmarcBlankInFront", " v=DMARC1; p=none", &IsDmarc, false},
    {"DmarcOfAnotherVersion", "v=DMARC10; p=none", &IsDmarc, false},
    {"DmarcEmpty", "", &IsDmarc, false},
    {"DmarcEqualsAlone", "=DMARC1", &IsDmarc, false},
    {"Bimi", "v=BIMI1; l=;", &IsBimi, true},
    {"BimiBlanksAroundEquals", "v =\tBIMI1; l=;", &IsBimi, true},
    {"BimiBlankInFront", "\tv=BIMI1; l=;", &IsBimi, false},
};
class RecordVersion : public testing::TestWithParam<VersionCase> {};
TEST_P(RecordVersion, IsSeenOrDiscarded) { EXPECT_EQ(GetParam().is(GetParam().text), GetParam().found); }
INSTANTIATE_TEST_SUITE_P(Records, RecordVersion, testing::ValuesIn(kVersions),
                         [](const auto& row) { return std::string(row.param.name); });

struct PassAllCase {
  const char* name;
  std::vector<std::string> published;  // at example.com
  const char* id;
  std::vector<std::string> publish;
};
const PassAllCase kPassAlls[] = {
    {"Bare", {"v=spf1 +all"}, "SPF_PASS_ALL", {}},
    {"BesideAHost", {"v=spf1 a +all"}, "SPF_PASS_ALL", {R"(example.com. 3600 IN TXT "v=spf1 a ~all")"}},
    {"BesideARefusedHost", {"v=spf1 -a +all"}, "SPF_PASS_ALL", {}},
    {"Twice", {"v=spf1 +all", "v=spf1 -all"}, "SPF_SEVERAL_RECORDS", {}},
};
class SpfPassAll : public testing::TestWithParam<PassAllCase> {};
TEST_P(SpfPassAll, IsNotMendedToNobody) {
  const Lookup lookup = [](const std::string& name, dns::RecordType type) -> Result<dns::Answer> {
    if (type == dns::RecordType::kTxt && name == "example.com") return dns::Answer{GetParam().published, true, ""};
    if (type == dns::RecordType::kA) return dns::Answer{{"192.0.2.1"}, true, ""};
    return dns::Answer{{}, true, ""};
  };
  Report report;
  CheckDomain({"example.com", {}, "", {}}, lookup, report);
  const auto finding = std::find_if(report.findings().begin(), report.findings().end(),
                                    [](const Finding& one) { return one.kind->id == GetParam().id; });
  ASSERT_NE(finding, report.findings().end());
  EXPECT_EQ(finding->publish, GetParam().publish);
}
INSTANTIATE_TEST_SUITE_P(Records, SpfPassAll, testing::ValuesIn(kPassAlls),
                         [](const auto& row) { return std::string(row.param.name); });

// A DNS that never answers: nothing is called missing.
TEST(Posture, WithoutAnswersNothingIsMissing) {
  std::size_t asked = 0;
  const Lookup silent = [&](const std::string& name, dns::RecordType) -> Result<dns::Answer> {
    ++asked;
    return MakeError(Reason::kIoFailed, "no answer for " + name);
  };
  Report report;
  CheckDomain({"example.com", {{"s", KeyUse::kActive, {}, ""}}, "", {}}, silent, report);
  EXPECT_THAT(Ids(report), Each("DNS_NO_ANSWER"));
  EXPECT_EQ(asked, 8u) << "a silent server is not waited for without end";
  EXPECT_EQ(Suggest({"example.com", {}, {}, "", {}, {}, "", "", "1"}, silent).error().reason, Reason::kIoFailed);
}

// Each type alone may fail: a name server that drops questions of a type it does not know.
TEST(Posture, OnlyWhatFailedIsLeftOut) {
  const Lookup lookup = [](const std::string& name, dns::RecordType type) -> Result<dns::Answer> {
    if (type == dns::RecordType::kAaaa) return MakeError(Reason::kIoFailed, "no answer for " + name + " AAAA");
    if (type == dns::RecordType::kTxt && name == "example.com") return dns::Answer{{"v=spf1 a -all"}, true, ""};
    if (type == dns::RecordType::kA && name == "example.com") return dns::Answer{{"192.0.2.1"}, true, ""};
    return dns::Answer{{}, false, ""};
  };
  Report report;
  CheckDomain({"example.com", {}, "", {}}, lookup, report);
  EXPECT_THAT(Ids(report), Contains("DNS_NO_ANSWER"));
  EXPECT_THAT(Ids(report), Contains("DMARC_MISSING"));
  EXPECT_THAT(Ids(report), Not(Contains("SPF_TOO_MANY_VOID_LOOKUPS")));
}

TEST(Posture, TextFromTheDnsIsShownPrintable) {
  const Lookup lookup = [](const std::string& name, dns::RecordType type) -> Result<dns::Answer> {
    if (type == dns::RecordType::kTxt && name == "example.com")
      return dns::Answer{{"v=spf1 \x1b[31m" + std::string(500, 'x')}, true, ""};
    return dns::Answer{{}, true, ""};
  };
  Report report;
  CheckDomain({"example.com", {}, "", {}}, lookup, report);
  for (const Finding& finding : report.findings()) {
    EXPECT_EQ(finding.what.find('\x1b'), std::string::npos) << finding.what;
    EXPECT_LT(finding.what.size(), 300u) << finding.what;
  }
  EXPECT_THAT(Ids(report), Contains("SPF_SYNTAX"));
}

}  // namespace
}  // namespace hallmark::posture
