#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "migration_files.h"
#include "tools/migration/rspamd.h"
#include "tools/migration/ucl.h"

namespace hallmark::migration {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = Note::Kind;

std::string At(const Ucl& value, const std::vector<std::string>& path) {
  const Ucl* at = &value;
  for (const std::string& key : path) {
    at = at->Find(key);
    if (at == nullptr) return "(none)";
  }
  return at->text;
}

TEST(UclForm, EverySpellingOfAValue) {
  const auto parsed = ParseUcl(
      "a = 1; b: two\nc three # comment\n\"d\" = \"fo\\\"ur\";\ne { f = g; /* h /* nested */ = i */ j = 'k;l' }\n"
      "section name { m = n }\nsection \"quoted\" { o = p }\narray [ \"x\", y, { z = 1; } ];\nlong = "
      "<<END\nfirst\nsecond\nEND\n.include \"file\"\n",
      "test.conf");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(At(*parsed, {"a"}), "1");
  EXPECT_EQ(At(*parsed, {"b"}), "two");
  EXPECT_EQ(At(*parsed, {"c"}), "three");
  EXPECT_EQ(At(*parsed, {"d"}), "fo\"ur");
  EXPECT_EQ(At(*parsed, {"e", "f"}), "g");
  EXPECT_EQ(At(*parsed, {"e", "j"}), "k;l");
  EXPECT_EQ(At(*parsed, {"section", "name", "m"}), "n");
  EXPECT_EQ(At(*parsed, {"section", "quoted", "o"}), "p");
  ASSERT_EQ(parsed->Find("array")->items.size(), 3u);
  EXPECT_EQ(parsed->Find("array")->items[1].text, "y");
  EXPECT_EQ(At(parsed->Find("array")->items[2], {"z"}), "1");
  EXPECT_EQ(At(*parsed, {"long"}), "first\nsecond");
  EXPECT_EQ(At(*parsed, {".include"}), "file");
  EXPECT_EQ(parsed->Find("array")->place.line, 7u);
  EXPECT_EQ(parsed->Find("array")->items[2].Find("z")->place.line, 7u);
}

TEST(UclForm, RepeatedObjectsAreOne) {
  const auto parsed = ParseUcl("d { a { x = 1; } }\nd { b { x = 2; } a { y = 3; x = 4; } }", "t");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(At(*parsed, {"d", "a", "x"}), "4");
  EXPECT_EQ(At(*parsed, {"d", "a", "y"}), "3");
  EXPECT_EQ(At(*parsed, {"d", "b", "x"}), "2");
}

TEST(UclForm, BrokenTextIsRefusedWithItsLine) {
  const std::pair<std::string, const char*> rows[] = {{"a {\n b = 1;\n", "t:3: a brace is not closed"},
                                                      {"a = [1, 2", "a bracket is not closed"},
                                                      {"a = \"x\n", "a quotation mark is not closed"},
                                                      {"\n= 1", "t:2: expected a name"},
                                                      {"a = <<END\nx\n", "text over lines has no end"},
                                                      {std::string("a\0b", 3), "NUL"},
                                                      {"a = 1\n}\n", "t:2: "},
                                                      {std::string(100, '['), "expected"}};
  for (const auto& [text, words] : rows) {
    const auto parsed = ParseUcl(text, "t");
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr(words));
  }
  std::string deep = "a = ";
  for (int i = 0; i < 10'000; ++i) deep += "[ ";
  EXPECT_THAT(ParseUcl(deep, "t").error().message, HasSubstr("too deep"));
  deep.clear();
  for (int i = 0; i < 10'000; ++i) deep += ".x {";
  EXPECT_THAT(ParseUcl(deep, "t").error().message, HasSubstr("too deep"));
}

Result<Plan> PlanOf(std::map<std::string, std::string> files, const std::string& path = "/etc/rspamd") {
  const MemoryFiles memory(std::move(files));
  return PlanFromRspamd(path, memory.Functions());
}

constexpr char kLocal[] = "/etc/rspamd/local.d/dkim_signing.conf";
constexpr char kOverride[] = "/etc/rspamd/override.d/dkim_signing.conf";

TEST(Rspamd, BlocksMapsAndFiles) {
  const auto plan =
      PlanOf({{kLocal,
               "path = \"/keys/$domain.$selector.key\";\nselector_map = \"$LOCAL_CONFDIR/maps.d/s\";\n"
               "path_map = [\"example.net /other/$domain\"];\n"
               "domain { Example.com { selectors [ { selector = a; path = /keys/a; }, { selector = b; } ] }\n"
               " old.example { selector = \"o\"; path = \"/keys/o\"; }\n example.org { } }\n"},
              {"/etc/rspamd/maps.d/s", "# map\nexample.net  special\n"},
              {"/keys/example.org.dkim.key", "x"},
              {"/keys/news.example.org.dkim.key", "x"},
              {"/keys/unrelated", "x"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(KeysOf(*plan), ElementsAre("a example.com /keys/a", "b example.com /keys/example.com.b.key",
                                         "dkim example.org /keys/example.org.dkim.key", "o old.example /keys/o",
                                         "special example.net /other/example.net"));
  EXPECT_TRUE(plan->author_domains.contains(".example.org")) << "use_esld signs what is below too";
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, std::string(kLocal) + ":1", "news.example.org is never signed with"));
  EXPECT_EQ(plan->profile.header, dkim::Canonicalization::kRelaxed);
  EXPECT_THAT(plan->profile.oversigned_fields, ElementsAre("from", "reply-to", "subject", "to", "cc"));
}

// A domain whose block is empty is signed with the path and the selector of all, where nothing lists its file too.
TEST(Rspamd, AnEmptyBlockHasWhatHoldsForAll) {
  const std::string block = "selector = s; domain { example.com { } }\n";
  for (const char* path : {"/keys/all.key", "/keys/$domain/key"}) {
    const auto plan = PlanOf({{kLocal, block + "path = \"" + path + "\";"}});
    ASSERT_TRUE(plan) << plan.error().message;
    const std::string file = std::string(path) == "/keys/all.key" ? path : "/keys/example.com/key";
    EXPECT_THAT(KeysOf(*plan), ElementsAre("s example.com " + file));
  }
  EXPECT_THAT(PlanOf({{kLocal, block + "try_fallback = false;"}}).error().message, HasSubstr("no domain has a key"));
}

TEST(Rspamd, LaterFilesWin) {
  const auto plan =
      PlanOf({{"/etc/rspamd/modules.d/dkim_signing.conf",
               "dkim_signing { selector = one; use_esld = true;\n"
               ".include(try=true,priority=1) \"$LOCAL_CONFDIR/local.d/dkim_signing.conf\"\n"
               ".include \"/elsewhere\"\n}"},
              {kLocal, "selector = two; sign_local = false; domain { example.com { path = /a; } }"},
              {kOverride, "selector = three; use_esld = false; domain { news.example.org { path = /b; } }"}});
  ASSERT_TRUE(plan) << plan.error().message;
  // override.d has its `domain` instead of the one in local.d: `rspamadm configdump dkim_signing`.
  EXPECT_THAT(KeysOf(*plan), ElementsAre("three news.example.org /b"));
  EXPECT_THAT(plan->author_domains, ElementsAre("news.example.org"));
  EXPECT_THAT(plan->senders, ElementsAre(HasSubstr("logs in"))) << "what override.d does not name stays";
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, "/etc/rspamd/modules.d/dkim_signing.conf:3", "not followed"));
  EXPECT_FALSE(HasNote(*plan, Kind::kLost, "/etc/rspamd/modules.d/dkim_signing.conf:2", "not followed"));
}

TEST(Rspamd, LocalFilesAddToWhatIsShipped) {
  const auto plan =
      PlanOf({{"/etc/rspamd/modules.d/dkim_signing.conf", "dkim_signing { domain { example.com { path = /a; } } }"},
              {kLocal, "domain { example.com { selector = s; } example.net { path = /b; selector = s; } }"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(KeysOf(*plan), ElementsAre("s example.com /a", "s example.net /b"));
}

TEST(Rspamd, TablesAsOpenDkimHasThem) {
  const auto plan = PlanOf({{kLocal,
                             "signing_table = [\"*@example.com k\", \"*@*.example.org %\"];\n"
                             "key_table = [\"k example.com:s1:/a\", \"two example.com:/b\"];\nselector = std;\n"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(KeysOf(*plan), ElementsAre("s1 example.com /a"));
}

// Unlike OpenDKIM, which takes the key's.
TEST(Rspamd, PercentInAPathIsTheAuthorsDomain) {
  const auto plan = PlanOf({{kLocal,
                             "signing_table = [\"*@news.example.com k\", \"*@*.example.com k\"];\n"
                             "key_table = [\"k example.com:s:/keys/%\"];\n"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(KeysOf(*plan), ElementsAre("s example.com /keys/news.example.com"));
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, std::string(kLocal) + ":1", "import each"));
}

TEST(Rspamd, OneFile) {
  const auto plan =
      PlanOf({{"/x.conf", "dkim_signing { domain { example.com { path = \"/a\"; selector = s } } }"}}, "/x.conf");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(KeysOf(*plan), ElementsAre("s example.com /a"));
  EXPECT_TRUE(HasNote(*plan, Kind::kDiffers, "/x.conf", "sign_headers")) << "they are in another file";
}

TEST(Rspamd, SignHeadersAreReadInTheFolder) {
  const auto plan = PlanOf({{kLocal, "domain { example.com { path = /a; } }"},
                            {"/etc/rspamd/local.d/dkim.conf", "sign_headers = \"(o)from:subject\";"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(plan->profile.signed_fields, ElementsAre("from", "subject"));
  EXPECT_THAT(NotesOf(*plan), testing::Not(HasSubstr("sign_headers")));
}

TEST(Rspamd, AModuleThatIsOffIsTold) {
  for (const char* off : {"false", "no", "off"}) {
    const auto plan = PlanOf({{kLocal, "domain { example.com { path = /a; } }\nenabled = " + std::string(off) + ";"}});
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_TRUE(HasNote(*plan, Kind::kDiffers, std::string(kLocal) + ":2", "enabled")) << off;
  }
  const auto plan = PlanOf({{kLocal, "domain { example.com { path = /a; } }\nenabled = true;"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(NotesOf(*plan), testing::Not(HasSubstr("enabled")));
}

TEST(Rspamd, WhatHasNoCounterpartIsTold) {
  const auto plan =
      PlanOf({{kLocal,
               "domain { example.com { path = /a; } }\nuse_redis = true;\nsign_condition = <<EOD\nreturn\nEOD\n"
               "use_domain = \"envelope\";\nallow_username_mismatch = true;\nsign_networks = \"https://x/map\";\n"
               "selector_map = \"http://x/map\";\ncheck_pubkey = false;\n"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, std::string(kLocal) + ":2", "Redis"));
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, std::string(kLocal) + ":3", "Lua"));
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, std::string(kLocal) + ":6", "envelope"));
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, std::string(kLocal) + ":7", "author_domains"));
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, std::string(kLocal) + ":8", "not read"));
  EXPECT_TRUE(HasNote(*plan, Kind::kLost, std::string(kLocal) + ":9", "not read"));
  EXPECT_THAT(NotesOf(*plan), testing::Not(HasSubstr("check_pubkey")));
}

TEST(Rspamd, NothingToTakeOver) {
  EXPECT_THAT(PlanOf({}).error().message, HasSubstr("no dkim_signing.conf"));
  EXPECT_THAT(PlanOf({{kLocal, "selector = x;"}}).error().message, HasSubstr("no domain has a key"));
  EXPECT_THAT(PlanOf({{kLocal, "domain { broken"}}).error().message, HasSubstr("dkim_signing.conf:1"));
}

TEST(Rspamd, AFolderOfKeysThatCannotBeListedIsNotOneWithoutKeys) {
  const std::map<std::string, std::string> texts = {
      {kLocal, "path = \"/keys/$domain.key\";\ndomain { example.com { path = /a; } }\n"}};
  const MemoryFiles memory(texts);
  Files files = memory.Functions();
  EXPECT_TRUE(PlanFromRspamd("/etc/rspamd", files)) << "there is no such folder";
  files.list = [](const std::string& path) -> Result<std::vector<std::string>> {
    return MakeError(Reason::kIoFailed, path + ": cannot list: Permission denied");
  };
  const auto plan = PlanFromRspamd("/etc/rspamd", files);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("/keys: cannot list: Permission denied"));
}

TEST(Rspamd, EveryShippedFileParses) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("/etc/rspamd")) {
    const std::string extension = entry.path().extension();
    const bool map = entry.path().string().find("/maps.d/") != std::string::npos;  // lines of another form
    if (!entry.is_regular_file() || map || (extension != ".conf" && extension != ".inc")) continue;
    std::ifstream stream(entry.path());
    std::ostringstream text;
    text << stream.rdbuf();
    const auto parsed = ParseUcl(text.str(), entry.path());
    EXPECT_TRUE(parsed) << parsed.error().message;
    ++files;
  }
  EXPECT_GT(files, 40u) << "apt-get install rspamd";
}

}  // namespace
}  // namespace hallmark::migration
