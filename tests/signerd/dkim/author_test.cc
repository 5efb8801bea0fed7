#include <gtest/gtest.h>

#include "signerd/dkim/author.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using namespace std::literals;

Result<Author> AuthorOf(std::string_view from) {
  const auto header = Header::Parse("From:" + std::string(from) + "\r\n");
  return header ? FindAuthor(*header) : header.error();
}

struct GoodAuthor {
  const char* name;
  std::string_view from, address, domain;
};

constexpr GoodAuthor kGood[] = {
    {"Plain", " joe@example.com", "joe@example.com", "example.com"},
    {"NoSpaceAfterColon", "joe@example.com", "joe@example.com", "example.com"},
    {"NameAndAngle", " Joe <joe@example.com>", "joe@example.com", "example.com"},
    {"AngleAlone", " <joe@example.com>", "joe@example.com", "example.com"},
    {"UpperCase", " JOE@EXAMPLE.Com", "JOE@EXAMPLE.Com", "example.com"},
    {"FinalDot", " joe@example.com.", "joe@example.com.", "example.com"},
    {"QuotedName", " \"Joe, the <man>\" <joe@example.com>", "joe@example.com", "example.com"},
    {"QuotedNameWithEscapes", " \"J\\\"o\\\\e\" <joe@example.com>", "joe@example.com", "example.com"},
    {"NameWithAt", " joe@example.net <joe@example.com>", "joe@example.com", "example.com"},
    {"QuotedNameWithAt", " \"joe@example.net\" <joe@example.com>", "joe@example.com", "example.com"},
    {"QuotedLocalPart", " \"joe smith\"@example.com", "\"joe smith\"@example.com", "example.com"},
    {"AtInTheQuotedLocalPart", " \"joe@example.net\"@example.com", "\"joe@example.net\"@example.com", "example.com"},
    {"EscapedQuoteInTheLocalPart", " \"a\\\"@x.net\"@example.com", "\"a\\\"@x.net\"@example.com", "example.com"},
    {"WordsOfBothKinds", " <a.\"b c\".d@example.com>", "a.\"b c\".d@example.com", "example.com"},
    {"CommaInTheQuotedLocalPart", " <\"a, b\"@example.com>", "\"a, b\"@example.com", "example.com"},
    {"EscapesInTheLocalPart", " \"\\\xc3\xb6\\\"@\"@example.com", "\"\\\xc3\xb6\\\"@\"@example.com", "example.com"},
    {"DotsInARow", " joe..smith.@example.com", "joe..smith.@example.com", "example.com"},
    {"Comment", " joe@example.com (Joe)", "joe@example.com", "example.com"},
    {"CommentWithAddress", " joe@example.com (x@example.net)", "joe@example.com", "example.com"},
    {"CommentFirst", " (Joe) joe@example.com", "joe@example.com", "example.com"},
    {"CommentsWithin", " joe(a)@(b)example(c).(d)com(e)", "joe@example.com", "example.com"},
    {"NestedComments", " joe@example.com (a (b \\) (c)) d)", "joe@example.com", "example.com"},
    {"CommentInTheAngle", " Joe <joe(c)@example.com(d)>", "joe@example.com", "example.com"},
    {"CommentAfterTheAngle", " Joe <joe@example.com> (work)", "joe@example.com", "example.com"},
    {"SpaceAroundDots", " joe . smith @ example . com", "joe.smith@example.com", "example.com"},
    {"TrailingBlanks", " joe@example.com \t ", "joe@example.com", "example.com"},
    {"Folded", "\r\n Joe\r\n\t<joe@example.com>\r\n ", "joe@example.com", "example.com"},
    {"FoldedInTheAngle", " Joe <\r\n joe@example.com\r\n >", "joe@example.com", "example.com"},
    {"ObsoleteRoute", " <@a.example,@b.example:joe@example.com>", "joe@example.com", "example.com"},
    {"ObsoleteRouteWithSpace", " < @a.example , @b.example : joe@example.com >", "joe@example.com", "example.com"},
    {"ObsoleteRouteWithEmptyHops", " <@a.example,,@b.example,:joe@example.com>", "joe@example.com", "example.com"},
    {"Group", " Team: joe@example.com;", "joe@example.com", "example.com"},
    {"GroupOfTwo", " Team: joe@example.com, Ann <ann@example.com>;", "joe@example.com", "example.com"},
    {"GroupWithoutEnd", " Team: joe@example.com", "joe@example.com", "example.com"},
    {"GroupAmongOthers", " ann@example.com, Team: joe@EXAMPLE.com;", "ann@example.com", "example.com"},
    {"EmptyGroupAndOne", " Nobody:;, joe@example.com", "joe@example.com", "example.com"},
    {"TwoOfOneDomain", " joe@example.com, Ann <ann@Example.COM>", "joe@example.com", "example.com"},
    {"EmptyElements", " , joe@example.com, ,", "joe@example.com", "example.com"},
    {"SemicolonAsSeparator", " joe@example.com;", "joe@example.com", "example.com"},
    {"Utf8Name", " J\xc3\xb6rg <joe@example.com>", "joe@example.com", "example.com"},
    {"Latin1Name", " J\xf6rg <joe@example.com>", "joe@example.com", "example.com"},
    {"EncodedWord", " =?utf-8?q?J=C3=B6rg?= <joe@example.com>", "joe@example.com", "example.com"},
    {"Utf8LocalPart", " j\xc3\xb6rg@example.com", "j\xc3\xb6rg@example.com", "example.com"},
    {"Utf8Domain",
     " joe@b\xc3\xbc"
     "cher.example",
     "joe@b\xc3\xbc"
     "cher.example",
     "xn--bcher-kva.example"},
    {"Utf8DomainInUpperCase",
     " joe@B\xc3\x9c"
     "CHER.example",
     "joe@B\xc3\x9c"
     "CHER.example",
     "xn--bcher-kva.example"},
    {"ALabel", " joe@XN--bcher-KVA.example", "joe@XN--bcher-KVA.example", "xn--bcher-kva.example"},
    {"IdeographicFullStop", " joe@\xe4\xbe\x8b\xe3\x80\x82\xe6\xb5\x8b\xe8\xaf\x95",
     "joe@\xe4\xbe\x8b\xe3\x80\x82\xe6\xb5\x8b\xe8\xaf\x95", "xn--fsq.xn--0zwm56d"},
    {"OneLabel", " root@localhost", "root@localhost", "localhost"},
    {"Digits", " joe@163.com", "joe@163.com", "163.com"},
    {"SpecialsInTheLocalPart", " !#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com", "example.com"},
    {"ColonInTheQuotedName", " \"a: b\" <joe@example.com>", "joe@example.com", "example.com"},
    {"BracketsInTheName", " [list] Joe <joe@example.com>", "joe@example.com", "example.com"},
};

class Good : public testing::TestWithParam<GoodAuthor> {};

TEST_P(Good, IsFound) {
  const auto author = AuthorOf(GetParam().from);
  ASSERT_TRUE(author) << author.error().message;
  EXPECT_EQ(author->address, GetParam().address);
  EXPECT_EQ(author->domain, GetParam().domain);
}

INSTANTIATE_TEST_SUITE_P(Author, Good, testing::ValuesIn(kGood),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Author, OfALongFromIsFound) {
  const std::string name(200'000, 'x');
  EXPECT_EQ(AuthorOf(" " + name + " <joe@example.com>")->domain, "example.com");
  EXPECT_EQ(AuthorOf(" \"" + name + "\" <joe@example.com>")->domain, "example.com");
  EXPECT_EQ(AuthorOf(" (" + name + ") <joe@example.com>")->domain, "example.com");
}

TEST(Author, DepthOfCommentsCostsNoStack) {
  constexpr std::size_t kDepth = 400'000;
  EXPECT_EQ(AuthorOf(std::string(kDepth, '(') + std::string(kDepth, ')') + " joe@example.com")->domain, "example.com");
  EXPECT_FALSE(AuthorOf(std::string(kDepth, '(') + " joe@example.com"));
}

TEST(Author, ErrorsCarryNoHostileOctets) {
  const auto author = AuthorOf(" joe@ex\x1b[31mample\xff\x07.com");
  ASSERT_FALSE(author);
  for (const char c : author.error().message) EXPECT_TRUE(c >= ' ' && c < '\x7f') << author.error().message;
  EXPECT_LT(AuthorOf(" joe@" + std::string(100'000, '-')).error().message.size(), 300u);
}

struct DomainCase {
  const char* name;
  std::string_view in, out;  // an empty `out`: refused
};

constexpr DomainCase kDomains[] = {
    {"Plain", "example.com", "example.com"},
    {"UpperCase", "EXAMPLE.Com", "example.com"},
    {"FinalDot", "example.com.", "example.com"},
    {"OneLabel", "localhost", "localhost"},
    {"ULabel",
     "b\xc3\xbc"
     "cher.example",
     "xn--bcher-kva.example"},
    {"ULabelInUpperCase",
     "B\xc3\x9c"
     "CHER.Example",
     "xn--bcher-kva.example"},
    {"DecomposedULabel",
     "bu\xcc\x88"
     "cher.example",
     "xn--bcher-kva.example"},
    {"ALabel", "xn--bcher-kva.example", "xn--bcher-kva.example"},
    {"SharpS",
     "stra\xc3\x9f"
     "e.example",
     "xn--strae-oqa.example"},
    {"FullWidthDot",
     "example\xef\xbc\x8e"
     "com",
     "example.com"},
    {"LabelOf63", "a23456789012345678901234567890123456789012345678901234567890123.com",
     "a23456789012345678901234567890123456789012345678901234567890123.com"},
    {"LabelOf64", "a234567890123456789012345678901234567890123456789012345678901234.com", ""},
    {"Empty", "", ""},
    {"Dot", ".", ""},
    {"TwoFinalDots", "example.com..", ""},
    {"EmptyLabel", "example..com", ""},
    {"LeadingDot", ".example.com", ""},
    {"LeadingHyphen", "-example.com", ""},
    {"TrailingHyphen", "example-.com", ""},
    {"Underscore", "exa_mple.com", ""},
    {"Space", "exa mple.com", ""},
    {"Semicolon", "example.com;d=x", ""},
    {"LineEnd", "example.com\r\nX: y", ""},
    {"Nul", "example.com\0.net"sv, ""},
    {"NulInAULabel", "b\xc3\xbc\0.example"sv, ""},
    {"At", "joe@example.com", ""},
    {"BadUtf8", "ex\xff\xfe.com", ""},
    {"OverlongUtf8", "ex\xc0\xaf.com", ""},
    {"DisallowedCharacter", "\xe2\x98\x83\xef\xbf\xbd.example", ""},
    {"Literal", "[192.0.2.1]", ""},
};

class Domain : public testing::TestWithParam<DomainCase> {};

TEST_P(Domain, IsNormalized) {
  const auto domain = NormalizeDomain(GetParam().in);
  EXPECT_EQ(domain ? *domain : "", GetParam().out);
  if (!domain) {
    EXPECT_EQ(domain.error().reason, Reason::kInvalidArgument);
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Domain, testing::ValuesIn(kDomains),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Domain, IsAtMost253Octets) {
  const std::string label(59, 'a');
  const std::string longest = label + "." + label + "." + label + "." + label + ".1234567890123";
  ASSERT_EQ(longest.size(), 253u);
  EXPECT_TRUE(NormalizeDomain(longest));
  EXPECT_TRUE(NormalizeDomain(longest + "."));
  EXPECT_FALSE(NormalizeDomain(longest + "4"));
  EXPECT_FALSE(NormalizeDomain(std::string(1 << 20, 'a')));
  EXPECT_FALSE(NormalizeDomain(std::string(1 << 20, '\xc3')));
}

TEST(Selector, IsLabelsInLowerCase) {
  for (const char* good : {"s", "2026-01", "sel.sub", "rsa_2026", "k1._sub"})
    EXPECT_TRUE(ValidateSelector(good)) << good;
  for (const char* bad :
       {"", ".", "a.", ".a", "a..b", "A", "a b", "a;b", "a\r\nb", "-a", "a-", "a=b", "\xc3\xbc", "a:b"}) {
    EXPECT_FALSE(ValidateSelector(bad)) << bad;
  }
  EXPECT_FALSE(ValidateSelector(std::string(64, 'a')));
}

}  // namespace
}  // namespace dkim_test
