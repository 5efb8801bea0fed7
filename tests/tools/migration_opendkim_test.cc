#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "migration_files.h"
#include "tools/migration/opendkim.h"
#include "tools/migration/opendkim_files.h"

namespace hallmark::migration {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = Note::Kind;

Result<Plan> PlanOf(std::map<std::string, std::string> files) {
  const MemoryFiles memory(std::move(files));
  return PlanFromOpenDkim("/etc/opendkim.conf", memory.Functions());
}

// A configuration with tables.
Result<Plan> PlanOfTables(const std::string& signing, const std::string& keys, const std::string& more = "") {
  return PlanOf({{"/etc/opendkim.conf",
                  "KeyTable file:/k\nSigningTable " + std::string(more.empty() ? "refile:" : more) + "/s\n"},
                 {"/k", keys},
                 {"/s", signing}});
}

TEST(OpenDkim, OneKey) {
  const auto plan = PlanOf({{"/etc/opendkim.conf",
                             "# comment\r\nDomain\tExample.COM  # here too\r\n"
                             "Selector 2020\r\nKeyFile /etc/dkimkeys/example.private\r\n"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(KeysOf(*plan), ElementsAre("2020 example.com /etc/dkimkeys/example.private"));
  EXPECT_THAT(plan->author_domains, ElementsAre("example.com"));
  EXPECT_EQ(plan->profile.header, dkim::Canonicalization::kSimple);
  EXPECT_EQ(plan->profile.body, dkim::Canonicalization::kSimple);
  EXPECT_THAT(plan->senders, ElementsAre("127.0.0.1"));
  EXPECT_EQ(NotesOf(*plan), "");
}

TEST(OpenDkim, SubDomainsAndSeveralDomains) {
  const auto plan = PlanOf({{"/etc/opendkim.conf",
                             "Domain csl:example.com, *.example.org,example.net\nSelector s\nKeyFile /k\n"
                             "SubDomains Yes\n"}});
  ASSERT_TRUE(plan);
  EXPECT_THAT(KeysOf(*plan), ElementsAre("s example.com /k", "s example.net /k"));
  EXPECT_THAT(plan->author_domains, ElementsAre(".example.com", ".example.net", "example.com", "example.net"));
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, "/etc/opendkim.conf:1", "wildcard"));
}

TEST(OpenDkim, TheNearestOfNestedDomainsSigns) {
  const auto plan = PlanOf(
      {{"/etc/opendkim.conf", "Domain csl:example.com,news.example.com\nSelector s\nKeyFile /k\nSubDomains Yes\n"}});
  ASSERT_TRUE(plan);
  EXPECT_FALSE(HasNote(*plan, Kind::kLost, "/etc/opendkim.conf", "was signed"));
  for (const Note& note : plan->notes) EXPECT_THAT(note.text, Not(HasSubstr("news.example.com")));
}

TEST(OpenDkim, FieldLists) {
  const std::string start = "Domain example.com\nSelector s\nKeyFile /k\n";
  const auto plain =
      PlanOf({{"/etc/opendkim.conf", start + "SignHeaders From,X-One\nOmitHeaders .\nOversignHeaders From\n"}});
  ASSERT_TRUE(plain);
  EXPECT_THAT(plain->profile.signed_fields, ElementsAre("From", "X-One"));
  EXPECT_THAT(plain->profile.excluded_fields, ElementsAre("DKIM-Signature"));
  EXPECT_THAT(plain->profile.oversigned_fields, ElementsAre("From"));
  const auto change =
      PlanOf({{"/etc/opendkim.conf", start + "SignHeaders *,+X-One,-subject,List-*\nOmitHeaders *,-Bcc\n"}});
  ASSERT_TRUE(change);
  const auto& fields = change->profile.signed_fields;
  EXPECT_EQ(std::count(fields.begin(), fields.end(), "X-One"), 1);
  EXPECT_EQ(std::count(fields.begin(), fields.end(), "Subject"), 0);
  EXPECT_EQ(std::count(fields.begin(), fields.end(), "Date"), 1);
  EXPECT_TRUE(HasNote(*change, Kind::kLost, "/etc/opendkim.conf:4", "several fields"));
  // What is excluded can be named as oversigned without effect: the way to say that nothing is.
  EXPECT_THAT(change->profile.oversigned_fields, ElementsAre("Return-Path"));
}

TEST(OpenDkim, ExpiryAndCanonicalization) {
  const std::string start = "Domain example.com\nSelector s\nKeyFile /k\nCanonicalization relaxed\n";
  const auto plan = PlanOf({{"/etc/opendkim.conf", start + "SignatureTTL 604800\nDiagnostics yes\n"}});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->profile.header, dkim::Canonicalization::kRelaxed);
  EXPECT_EQ(plan->profile.body, dkim::Canonicalization::kSimple) << "opendkim.conf(5)";
  EXPECT_EQ(plan->profile.expires_after, std::chrono::seconds(604800));
  EXPECT_TRUE(plan->profile.copied_fields);
  const auto early = PlanOf({{"/etc/opendkim.conf", start + "SignatureTTL 60\n"}});
  EXPECT_EQ(early->profile.expires_after, std::nullopt);
  EXPECT_TRUE(HasNote(*early, Kind::kLost, "/etc/opendkim.conf:5", "queues"));
}

struct Line {
  const char* name;
  const char* pattern;
  bool refile;
  const char* author;  // "" where it is not carried over
  const char* note;
};
class SigningTableLine : public testing::TestWithParam<Line> {};

TEST_P(SigningTableLine, BecomesAnAuthorDomain) {
  const Line& line = GetParam();
  const auto plan =
      PlanOfTables(std::string(line.pattern) + " k\n", "k example.com:s:/key\n", line.refile ? "" : "file:");
  ASSERT_TRUE(plan) << plan.error().message;
  const std::string author = plan->author_domains.empty() ? "" : *plan->author_domains.begin();
  EXPECT_EQ(author, line.author);
  EXPECT_THAT(NotesOf(*plan), HasSubstr(line.note));
}
INSTANTIATE_TEST_SUITE_P(All, SigningTableLine,
                         testing::Values(Line{"Domain", "*@example.com", true, "example.com", ""},
                                         Line{"DomainInCapitals", "*@EXAMPLE.com", true, "example.com", ""},
                                         Line{"Below", "*@*.example.com", true, ".example.com",
                                              "mail from example.com was not signed, and will be"},
                                         Line{"BelowWithoutAt", "*.example.com", true, ".example.com",
                                              "mail from example.com was not signed, and will be"},
                                         Line{"PlainDomain", "example.com", false, "example.com", ""},
                                         Line{"PlainBelow", ".example.com", false, ".example.com", ""},
                                         Line{"Subdomain", "*@news.example.com", true, "news.example.com", ""},
                                         Line{"Everyone", "*", true, ".example.com", "any domain"},
                                         Line{"EveryAddress", "*@*", true, ".example.com", "any domain"},
                                         Line{"Address", "joe@example.com", true, "", "by domain, not by address"},
                                         Line{"PlainAddress", "joe@example.com", false, "",
                                              "by domain, not by address"},
                                         Line{"Stranger", "*@example.org", true, "", "alignment"},
                                         Line{"SomeAddresses", "sales-*@example.com", true, "", "pattern"},
                                         Line{"SomeDomains", "*@example.*", true, "", "pattern"},
                                         Line{"PatternWithoutAt", "example.com", true, "", "pattern"}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(OpenDkim, TheFirstMatchCounts) {
  const auto plan = PlanOfTables("*@example.com a\n*@example.com b\n", "a example.com:one:/a\nb example.com:two:/b\n");
  ASSERT_TRUE(plan);
  EXPECT_THAT(KeysOf(*plan), ElementsAre("-two example.com /b", "one example.com /a"));
  EXPECT_TRUE(HasNote(*plan, Kind::kDiffers, "/s:2", "had no effect"));
}

TEST(OpenDkim, AWildcardBeforeHidesWhatIsBehind) {
  const auto plan =
      PlanOfTables("*@*.example.com a\n*@news.example.com b\n", "a example.com:one:/a\nb news.example.com:two:/b\n");
  ASSERT_TRUE(plan);
  EXPECT_TRUE(HasNote(*plan, Kind::kDiffers, "/s:2",
                      "mail from news.example.com was signed with d=example.com s=one, and will be signed with "
                      "d=news.example.com s=two"))
      << NotesOf(*plan);
}

TEST(OpenDkim, AllMatchesWhereItSaysSo) {
  const auto plan = PlanOf({{"/etc/opendkim.conf", "KeyTable /k\nSigningTable refile:/s\nMultipleSignatures yes\n"},
                            {"/k", "a example.com:one:/a\nb example.com:two:/b\n"},
                            {"/s", "*@example.com a\n*@example.com b\n"}});
  ASSERT_TRUE(plan);
  EXPECT_THAT(KeysOf(*plan), ElementsAre("one example.com /a", "two example.com /b"));
}

TEST(OpenDkim, PercentIsTheAuthorsDomain) {
  const auto plan = PlanOfTables("*@example.com %\n*@example.org k\n*@*.example.net k\n",
                                 "example.com example.com:s:/keys/x\nk %:s:/keys/%/private\n");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(KeysOf(*plan), ElementsAre("s example.com /keys/x", "s example.org /keys/example.org/private"));
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, "/s:3", "import each"));
}

// So does opendkim 2.11: the path of a key whose domain is fixed has that domain, whoever the author is.
TEST(OpenDkim, PercentInThePathOfAFixedDomainIsThatDomain) {
  const auto plan = PlanOfTables("*@*.example.com main\n*@example.com main\n", "main example.com:mail:/keys/%/%\n");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(KeysOf(*plan), ElementsAre("mail example.com /keys/example.com/example.com"));
  EXPECT_TRUE(plan->author_domains.contains(".example.com"));
  EXPECT_THAT(NotesOf(*plan), testing::Not(HasSubstr("import each")));
}

TEST(OpenDkim, SignerIsTold) {
  const auto plan = PlanOfTables("*@example.com a:@example.com\n*@example.org b:boss@example.org\n",
                                 "a example.com:one:/a\nb example.org:two:/b\n");
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->notes.size(), 3u) << NotesOf(*plan);  // two files that were read
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, "/s:2", "i=boss@example.org"));
}

TEST(OpenDkim, KeyInTheTable) {
  const auto plan = PlanOfTables("*@example.com a\n", "a example.com:one:MIIEpAIBAAKCAQEA\n");
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->keys[0].key.path, "");
  EXPECT_EQ(TextOf(plan->keys[0].key.content), "MIIEpAIBAAKCAQEA");
}

TEST(OpenDkim, NamesThatCannotBe) {
  const auto plan = PlanOfTables("*@example.com a\n*@exa_mple.com b\n", "a example.com:s;x:/a\nb exa mple.com:s:/b\n");
  ASSERT_FALSE(plan && !plan->keys.empty());
}

struct Broken {
  const char* name;
  const char* conf;
  const char* words;
};
class BrokenConf : public testing::TestWithParam<Broken> {};
TEST_P(BrokenConf, IsRefusedWithItsLine) {
  const auto plan = PlanOf({{"/etc/opendkim.conf", GetParam().conf},
                            {"/loop", "Include /loop\n"},
                            {"/k", "a b\n"},
                            {"/good", "a example.com:s:/a\n"},
                            {"/s", "*@example.com missing\n"}});
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr(GetParam().words));
}
INSTANTIATE_TEST_SUITE_P(
    All, BrokenConf,
    testing::Values(
        Broken{"Empty", "", "names no key"},
        Broken{"NoValue", "Syslog yes\nDomain\n", "conf:2: \"Domain\" has no value"},
        Broken{"VerifiesOnly", "Mode v\n", "signs nothing"},
        Broken{"Database", "KeyTable dsn:mysql://x\nSigningTable /s\n", "conf:1: KeyTable is kept in a dsn"},
        Broken{"Ldap", "KeyTable /good\nSigningTable ldap://x\n", "conf:2: SigningTable is kept in a ldap"},
        Broken{"Lua", "KeyTable lua:/x\nSigningTable /s\n", "lua"},
        Broken{"Berkeley", "KeyTable /x.db\nSigningTable /s\n", "database"},
        Broken{"NoSigningTable", "KeyTable /k\n", "no SigningTable"},
        Broken{"HalfALine", "KeyTable /k\nSigningTable /s\n", "/k:1: expected NAME"},
        Broken{"KeyNotThere", "KeyTable /good\nSigningTable refile:/s\n", "/s:1: the KeyTable has no \"missing\""},
        Broken{"FileNotThere", "KeyTable /absent\nSigningTable /s\n", "/absent"},
        Broken{"IncludesItself", "Include /loop\n", "nested too deep"},
        Broken{"Canonicalization", "Domain a.example\nSelector s\nKeyFile /k\nCanonicalization nofws\n", "conf:4"}),
    [](const auto& row) { return std::string(row.param.name); });

// What the package ships: read, and either planned or refused with a reason.
TEST(OpenDkim, ShippedExamples) {
  for (const char* file : {"/etc/opendkim.conf", "/usr/share/doc/opendkim/examples/opendkim.conf.sample",
                           "/usr/share/doc/opendkim/examples/opendkim.conf.simple",
                           "/usr/share/doc/opendkim/examples/opendkim.conf.simple-verify"}) {
    std::ifstream stream(file);
    ASSERT_TRUE(stream) << file << " is missing: apt-get install opendkim";
    std::ostringstream text;
    text << stream.rdbuf();
    const auto settings = ParseOpenDkimConf(text.str(), file);
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_FALSE(settings->empty());
  }
  const auto simple = PlanFromOpenDkim("/usr/share/doc/opendkim/examples/opendkim.conf.simple",
                                       Files{[](const std::string& path) -> Result<std::string> {
                                               std::ifstream stream(path);
                                               std::ostringstream text;
                                               text << stream.rdbuf();
                                               return text.str();
                                             },
                                             nullptr});
  ASSERT_TRUE(simple) << simple.error().message;
  EXPECT_THAT(KeysOf(*simple), ElementsAre("default localhost /var/db/dkim/localhost.private"));
}

}  // namespace
}  // namespace hallmark::migration
