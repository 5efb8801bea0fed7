#include "tools/posture/suggest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

// What is suggested beside what is published: in error, of others, or half of what was asked for.
namespace hallmark::posture {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A DNS with these TXT records alone; every other name is there too.
Lookup Publishing(std::map<std::string, std::vector<std::string>> txt) {
  return [txt = std::move(txt)](const std::string& name, dns::RecordType type) -> Result<dns::Answer> {
    const auto found = txt.find(name);
    if (type != dns::RecordType::kTxt || found == txt.end()) return dns::Answer{{}, true, ""};
    return dns::Answer{found->second, true, ""};
  };
}

SuggestRequest RequestFor(const std::string& domain) { return {domain, {}, {}, "", {}, {}, "", "", "1"}; }

// By its title.
Section Part(const std::vector<Section>& sections, const std::string& title) {
  const auto found =
      std::find_if(sections.begin(), sections.end(), [&](const Section& one) { return one.title == title; });
  EXPECT_NE(found, sections.end()) << title;
  return found == sections.end() ? Section{} : *found;
}

Section Suggested(const SuggestRequest& request, const Lookup& lookup, const std::string& title) {
  const auto sections = Suggest(request, lookup);
  EXPECT_TRUE(sections) << sections.error().message;
  return sections ? Part(*sections, title) : Section{};
}

struct FlawCase {
  const char* name;
  std::vector<std::string> published;  // at _dmarc.example.com
  const char* says;
};
const FlawCase kFlaws[] = {
    {"EmptyElement", {"v=DMARC1; p=reject; rua=mailto:d@example.com;;"}, "has an empty element"},
    {"TagTwice", {"v=DMARC1; p=reject; p=reject"}, "has p= twice"},
    {"TwoRecords", {"v=DMARC1; p=reject", "v=DMARC1; p=quarantine"}, "there are 2 DMARC records"},
};
class DmarcWithAFlaw : public testing::TestWithParam<FlawCase> {};
// Who published p=none in place of it would take away what most receivers read.
TEST_P(DmarcWithAFlaw, IsToldAndNotReplaced) {
  const Lookup lookup = Publishing({{"_dmarc.example.com", GetParam().published}});
  for (const char* domain : {"example.com", "news.example.com"}) {
    const auto sections = Suggest({domain, {}, {}, "", {}, {}, "", "", "1"}, lookup);
    ASSERT_TRUE(sections) << sections.error().message;
    const Section dmarc = Part(*sections, "DMARC");
    EXPECT_THAT(dmarc.records, IsEmpty()) << domain;
    EXPECT_THAT(dmarc.later, IsEmpty()) << domain;
    EXPECT_THAT(dmarc.comments, ElementsAre(AllOf(HasSubstr(GetParam().says), HasSubstr("at _dmarc.example.com"))))
        << domain;
  }
}
INSTANTIATE_TEST_SUITE_P(Flaws, DmarcWithAFlaw, testing::ValuesIn(kFlaws),
                         [](const auto& row) { return std::string(row.param.name); });

struct SpfSuggestion {
  const char* name;
  std::vector<std::string> published;  // at example.com
  std::vector<std::string> records;
  const char* says;  // of what is left out, or why there is none; null: nothing is
};
const SpfSuggestion kSpfSuggestions[] = {
    {"AsItIs", {"v=spf1 mx -all"}, {R"(example.com. 3600 IN TXT "v=spf1 mx -all")"}, nullptr},
    {"BehindAnAllThatRefuses",
     {"v=spf1 mx -all a"},
     {R"(example.com. 3600 IN TXT "v=spf1 mx -all")"},
     "a stands behind -all"},
    {"BehindAnAllThatPasses", {"v=spf1 +all mx"}, {R"(example.com. 3600 IN TXT "v=spf1 mx ~all")"}, nullptr},
    {"UnknownModifier", {"v=spf1 mx x=y -all"}, {R"(example.com. 3600 IN TXT "v=spf1 mx -all")"}, "x=y is no modifier"},
    {"RedirectMisspelt", {"v=spf1 redirct=example.net"}, {}, "redirct=example.net is no modifier"},
    {"Redirect",
     {"v=spf1 redirect=_spf.example.com"},
     {R"(example.com. 3600 IN TXT "v=spf1 redirect=_spf.example.com")"},
     nullptr},
    {"Two", {"v=spf1 mx -all", "v=spf1 a -all"}, {R"(example.com. 3600 IN TXT "v=spf1 mx a ~all")"}, nullptr},
    {"Unreadable",
     {"v=spf1 ip4:192.0.2.1 include:esp.test ipv4:192.0.2.3 -all"},
     {},
     "\"ipv4:192.0.2.3\" is no mechanism"},
    {"OneOfTwoUnreadable", {"v=spf1 mx -all", "v=spf1 ipv4:192.0.2.3 -all"}, {}, "\"ipv4:192.0.2.3\" is no mechanism"},
    {"Nothing", {}, {}, "--relay"},
    {"Everybody", {"v=spf1 +all"}, {}, "--relay"},
    {"Neutral", {"v=spf1 ?all"}, {}, "--relay"},
    {"NoAll", {"v=spf1"}, {}, "--relay"},
    {"ARefusedHostAlone", {"v=spf1 -mx ?all"}, {}, "--relay"},
    {"BehindAllAlone", {"v=spf1 -all a"}, {}, "a stands behind -all"},
    {"RedirectBesideAll", {"v=spf1 -all redirect=_spf.example.com"}, {}, "--relay"},
    // That nobody sends is said in these words.
    {"Nobody", {"V=SPF1 -All"}, {R"(example.com. 3600 IN TXT "v=spf1 -all")"}, nullptr},
    {"NobodyAsFarAsIsKnown", {"v=spf1 ~all"}, {R"(example.com. 3600 IN TXT "v=spf1 ~all")"}, nullptr},
    {"NobodyWithAnExplanation",
     {"v=spf1  -all exp=why.example.com"},
     {R"(example.com. 3600 IN TXT "v=spf1 -all exp=why.example.com")"},
     nullptr},
};
class SpfSuggested : public testing::TestWithParam<SpfSuggestion> {};
TEST_P(SpfSuggested, SaysWhatItLeavesOut) {
  const Section spf = Suggested(RequestFor("example.com"), Publishing({{"example.com", GetParam().published}}), "SPF");
  EXPECT_EQ(spf.records, GetParam().records);
  EXPECT_THAT(spf.later, IsEmpty());
  if (GetParam().says == nullptr) {
    EXPECT_THAT(spf.comments, IsEmpty());
  } else {
    EXPECT_THAT(spf.comments, Contains(HasSubstr(GetParam().says)));
  }
}
INSTANTIATE_TEST_SUITE_P(Records, SpfSuggested, testing::ValuesIn(kSpfSuggestions),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(SpfSuggestion, TakesTheRelaysInPlaceOfEverybody) {
  SuggestRequest request = RequestFor("example.com");
  request.relays = {"192.0.2.1"};
  const Section spf = Suggested(request, Publishing({{"example.com", {"v=spf1 +all"}}}), "SPF");
  EXPECT_THAT(spf.records, ElementsAre(R"(example.com. 3600 IN TXT "v=spf1 ip4:192.0.2.1 ~all")"));
}

struct ReportAddressCase {
  const char* name;
  const char* published;  // rua=
  const char* wanted;     // what it becomes with --report-address d@example.com
};
const ReportAddressCase kReportAddresses[] = {
    {"Another", "mailto:a@example.com", "mailto:a@example.com,mailto:d@example.com"},
    {"OneThatBeginsWithIt", "mailto:d@example.com.au", "mailto:d@example.com.au,mailto:d@example.com"},
    {"Itself", "mailto:a@example.com,mailto:d@example.com", "mailto:a@example.com,mailto:d@example.com"},
    {"ItselfWithASize", "mailto:d@example.com!10m", "mailto:d@example.com!10m"},
};
class ReportAddress : public testing::TestWithParam<ReportAddressCase> {};
TEST_P(ReportAddress, IsAddedWhereItIsNotThere) {
  SuggestRequest request = RequestFor("example.com");
  request.report_address = "d@example.com";
  const std::string start = "v=DMARC1; p=reject; rua=";
  const Section dmarc =
      Suggested(request, Publishing({{"_dmarc.example.com", {start + GetParam().published}}}), "DMARC");
  EXPECT_THAT(dmarc.records, ElementsAre(TxtLine("_dmarc.example.com", start + GetParam().wanted)));
}
INSTANTIATE_TEST_SUITE_P(Records, ReportAddress, testing::ValuesIn(kReportAddresses),
                         [](const auto& row) { return std::string(row.param.name); });

// Whether others have said that they take reports is theirs to answer: without it all else is suggested.
TEST(Suggestion, DoesNotDependOnTheServersOfOthers) {
  const std::string authorisation = "example.com._report._dmarc.other.test";
  const Lookup lookup = [&](const std::string& name, dns::RecordType) -> Result<dns::Answer> {
    if (name == authorisation) return MakeError(Reason::kIoFailed, "SERVFAIL for " + name);
    return dns::Answer{{}, true, ""};
  };
  SuggestRequest request = RequestFor("example.com");
  request.report_address = "d@other.test";
  const Section dmarc = Suggested(request, lookup, "DMARC");
  EXPECT_THAT(dmarc.records, ElementsAre(HasSubstr("rua=mailto:d@other.test")));
  EXPECT_THAT(dmarc.later, ElementsAre(TxtLine(authorisation, "v=DMARC1")));
}

struct TlsCase {
  const char* name;
  std::vector<std::string> published;  // at _smtp._tls.example.com
  std::vector<std::string> values;
  const char* says;  // null: nothing
};
const TlsCase kTls[] = {
    {"Good", {"v=TLSRPTv1;rua=https://example.com/tls"}, {"v=TLSRPTv1;rua=https://example.com/tls"}, nullptr},
    {"AddressAlone", {"v=TLSRPTv1; rua=d@example.com"}, {"v=TLSRPTv1; rua=mailto:d@example.com"}, "neither mailto:"},
    {"Two",
     {"v=TLSRPTv1; rua=mailto:d@example.com", "v=TLSRPTv1; rua=mailto:e@example.com"},
     {"v=TLSRPTv1; rua=mailto:d@example.com,mailto:e@example.com"},
     "there are 2 TLS-RPT records"},
    {"NothingToMend",
     {"v=TLSRPTv1; rua=http://example.com/tls"},
     {"v=TLSRPTv1; rua=mailto:tls-reports@example.com"},
     "neither mailto:"},
};
class TlsRptSuggested : public testing::TestWithParam<TlsCase> {};
TEST_P(TlsRptSuggested, IsGood) {
  SuggestRequest request = RequestFor("example.com");
  request.mx = {"mail.example.com"};
  const Section tls = Suggested(request, Publishing({{"_smtp._tls.example.com", GetParam().published}}), "TLS-RPT");
  std::vector<std::string> lines;
  for (const std::string& value : GetParam().values) lines.push_back(TxtLine("_smtp._tls.example.com", value));
  EXPECT_EQ(tls.records, lines);
  if (GetParam().says == nullptr) {
    EXPECT_THAT(tls.comments, IsEmpty());
  } else {
    EXPECT_THAT(tls.comments, ElementsAre(HasSubstr(GetParam().says)));
  }
}
INSTANTIATE_TEST_SUITE_P(Records, TlsRptSuggested, testing::ValuesIn(kTls),
                         [](const auto& row) { return std::string(row.param.name); });

struct BimiCase {
  const char* name;
  std::vector<std::string> published;  // at default._bimi.example.com
  const char* dmarc;
  bool stays;        // else it is a comment
  const char* says;  // null: nothing
};
const BimiCase kBimi[] = {
    {"Good", {"v=BIMI1; l=https://example.com/mark.svg"}, "v=DMARC1; p=reject", true, nullptr},
    {"Declined", {"v=BIMI1; l=; a=;"}, "v=DMARC1; p=none", true, nullptr},
    {"DmarcTooWeak", {"v=BIMI1; l=https://example.com/mark.svg"}, "v=DMARC1; p=none", false, "DMARC is strong enough"},
    {"NotHttps", {"v=BIMI1; l=http://example.com/mark.svg"}, "v=DMARC1; p=reject", false, "is no https:// address"},
    {"NoMark", {"v=BIMI1; a=https://example.com/mark.pem"}, "v=DMARC1; p=reject", false, "l= is missing"},
};
class BimiSuggested : public testing::TestWithParam<BimiCase> {};
TEST_P(BimiSuggested, StaysWhereItIsGood) {
  const Lookup lookup =
      Publishing({{"_dmarc.example.com", {GetParam().dmarc}}, {"default._bimi.example.com", GetParam().published}});
  const Section bimi = Suggested(RequestFor("example.com"), lookup, "BIMI");
  const std::vector<std::string> line{TxtLine("default._bimi.example.com", GetParam().published.front())}, none;
  EXPECT_EQ(bimi.records, GetParam().stays ? line : none);
  EXPECT_EQ(bimi.later, GetParam().stays ? none : line);
  if (GetParam().says == nullptr) {
    EXPECT_THAT(bimi.comments, IsEmpty());
  } else {
    EXPECT_THAT(bimi.comments, ElementsAre(HasSubstr(GetParam().says)));
  }
}
INSTANTIATE_TEST_SUITE_P(Records, BimiSuggested, testing::ValuesIn(kBimi),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace hallmark::posture
