#include "signerd/dns/key_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hallmark::dns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Case {
  const char* name;
  std::string_view line;
  std::string_view value;  // of s._domainkey.example.com
};

const Case kCases[] = {
    {"Plain", "s._domainkey.example.com v=DKIM1; p=AA==", "v=DKIM1; p=AA=="},
    {"PlainWithTabs", "s._domainkey.example.com\tv=DKIM1; p=AA== \r", "v=DKIM1; p=AA=="},
    {"WithType", "s._domainkey.example.com TXT v=DKIM1; p=AA==", "v=DKIM1; p=AA=="},
    {"TypeInLowerCase", "s._domainkey.example.com txt v=DKIM1; p=AA==", "v=DKIM1; p=AA=="},
    {"FinalDotAndCase", "S._DomainKey.EXAMPLE.com. TXT v=DKIM1; p=AA==", "v=DKIM1; p=AA=="},
    {"Quoted", R"(s._domainkey.example.com TXT "v=DKIM1; p=AA==")", "v=DKIM1; p=AA=="},
    {"SeveralStrings", R"(s._domainkey.example.com. 3600 IN TXT "v=DKIM1; p=A" "A==")", "v=DKIM1; p=AA=="},
    {"ClassFirst", R"(s._domainkey.example.com. IN 3600 TXT "a""b")", "ab"},
    {"Escapes", R"(s._domainkey.example.com. TXT "a\"b\\c\059d")", R"(a"b\c;d)"},
    {"SemicolonInside", R"(s._domainkey.example.com. TXT "v=DKIM1; n=x;" ; a comment)", "v=DKIM1; n=x;"},
    {"Parentheses", "s._domainkey.example.com. IN TXT ( \"v=DKIM1; \" ; first\n\t \"p=AA==\" )  ; done",
     "v=DKIM1; p=AA=="},
    {"EmptyString", R"(s._domainkey.example.com. TXT "")", ""},
    {"QuotedWithoutType", R"(s._domainkey.example.com "a" "b")", "ab"},
};

class KeyFileLine : public testing::TestWithParam<Case> {};
TEST_P(KeyFileLine, IsRead) {
  const auto file = KeyFile::Parse("# a comment\n; another\n\n" + std::string(GetParam().line), "keys");
  ASSERT_TRUE(file) << file.error().message;
  const auto values = file->LookupTxt("s._domainkey.example.com");
  ASSERT_TRUE(values) << values.error().message;
  EXPECT_THAT(*values, ElementsAre(GetParam().value));
}
INSTANTIATE_TEST_SUITE_P(Forms, KeyFileLine, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(KeyFile, KeepsSeveralRecordsOfANameInOrder) {
  const auto file = KeyFile::Parse("a.test one\nb.test other\nA.TEST. two\n", "keys");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size(), 3u);
  EXPECT_THAT(*file->LookupTxt("a.test."), ElementsAre("one", "two"));
}

TEST(KeyFile, SaysWhenANameIsMissing) {
  const auto file = KeyFile::Parse("a.test one\n", "keys");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->LookupTxt("b.test").error().reason, Reason::kNotFound);
}

TEST(KeyFile, ForgivesAByteOrderMark) {
  const auto file = KeyFile::Parse(
      "\xEF\xBB\xBF"
      "a.test one\r\n",
      "keys");
  ASSERT_TRUE(file);
  EXPECT_THAT(*file->LookupTxt("a.test"), ElementsAre("one"));
}

TEST(KeyFile, SaysWhenTheFileIsMissing) {
  EXPECT_EQ(KeyFile::Load("/nonexistent/keys").error().reason, Reason::kNotFound);
}

struct BadCase {
  const char* name;
  std::string_view content;
  std::string_view error;
};
const BadCase kBad[] = {
    {"NameAlone", "a.test one\nb.test\n", "keys:2: found a name alone"},
    {"NameAndTypeAlone", "a.test IN TXT\n", "keys:1: found a name alone"},
    {"OpenQuote", "a.test TXT \"v=DKIM1\n", "keys:1: a string has no closing quote"},
    {"OpenParenthesis", "a.test TXT ( \"v=DKIM1\"\n", "keys:1: a parenthesis is not closed"},
    {"TextAfterQuotes", "a.test TXT \"v=DKIM1\" p=AA\n", "keys:1: found \"p=AA\"; expected a string in quotes"},
    {"BadEscape", "a.test TXT \"\\999\"\n", "keys:1: \\999 is no octet"},
    {"Directive", "\n$ORIGIN example.com.\n", "keys:2: directives are not supported"},
};
class BadKeyFile : public testing::TestWithParam<BadCase> {};
TEST_P(BadKeyFile, IsRefusedWithItsLine) {
  const auto file = KeyFile::Parse(GetParam().content, "keys");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().reason, Reason::kInvalidArgument);
  EXPECT_THAT(file.error().message, HasSubstr(std::string(GetParam().error)));
}
INSTANTIATE_TEST_SUITE_P(Mistakes, BadKeyFile, testing::ValuesIn(kBad),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace hallmark::dns
