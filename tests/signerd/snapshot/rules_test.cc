#include "signerd/snapshot/rules.h"

#include <gtest/gtest.h>

#include "signerd/snapshot/organizational_domain.h"

namespace hallmark::snapshot {
namespace {

TEST(DomainRules, Match) {
  struct Row {
    std::vector<std::string> rules;
    const char* domain;
    bool matches;
  };
  const Row rows[] = {
      {{"example.com"}, "example.com", true},
      {{"example.com"}, "a.example.com", false},
      {{"example.com"}, "com", false},
      {{".example.com"}, "example.com", true},
      {{".example.com"}, "a.b.example.com", true},
      {{".example.com"}, "fexample.com", false},
      {{".example.com"}, "com", false},
      {{"*"}, "anything.example", true},
      {{"*"}, "com", true},
      {{"a.example", ".b.example"}, "x.b.example", true},
      {{"a.example", ".b.example"}, "x.a.example", false},
      {{"M\xc3\xbcnchen.example"}, "xn--mnchen-3ya.example", true},
      {{".EXAMPLE.com."}, "a.example.com", true},
      {{}, "example.com", false},
  };
  for (const Row& row : rows) {
    const auto rules = DomainRules::Parse(row.rules);
    ASSERT_TRUE(rules);
    EXPECT_EQ(rules->Match(row.domain), row.matches) << row.domain;
  }
}

TEST(DomainRules, MatchAnyLooksAtTheDomainsAbove) {
  const auto rules = *DomainRules::Parse({"example.com"});
  EXPECT_TRUE(rules.MatchAny("a.b.example.com"));
  EXPECT_FALSE(rules.MatchAny("example.org"));
}

TEST(DomainRules, BadOnesAreQuoted) {
  for (const char* text :
       {"", ".", "..", "a b", "*.example.com", "exa*mple", "-a.example", "a..b", ".*", "a@b", "a\nb.example", "**"}) {
    const auto rules = DomainRules::Parse({"good.example", text});
    ASSERT_FALSE(rules) << text;
    EXPECT_EQ(rules.error().reason, Reason::kInvalidArgument);
    EXPECT_EQ(rules.error().message.find('\n'), std::string::npos);
  }
}

TEST(DomainRules, Cover) {
  const auto rules = *DomainRules::Parse({"one.example", ".two.example"});
  for (const char* inside : {"one.example", ".two.example", "two.example", "a.two.example", ".a.two.example"}) {
    EXPECT_TRUE(rules.Cover(inside)) << inside;
  }
  for (const char* outside : {".one.example", "a.one.example", "three.example", ".example", "*"}) {
    EXPECT_FALSE(rules.Cover(outside)) << outside;
  }
  EXPECT_TRUE(DomainRules::Parse({"*"})->Cover("*"));
  EXPECT_TRUE(DomainRules::Parse({"*"})->Cover(".any.example"));
}

TEST(AddressPattern, Match) {
  struct Row {
    const char *pattern, *address, *domain;
    bool matches;
  };
  const Row rows[] = {
      {"sales@example.com", "sales@example.com", "example.com", true},
      {"sales@EXAMPLE.com", "sales@Example.COM", "example.com", true},
      {"sales@example.com", "Sales@example.com", "example.com", false},
      {"sales@example.com", "presales@example.com", "example.com", false},
      {"sales@example.com", "sales@example.com.evil.example", "example.com.evil.example", false},
      {"*@example.com", "any.one@example.com", "example.com", true},
      {"*@example.com", "a@b@example.com", "example.com", true},
      {"*@example.com", "a@sub.example.com", "sub.example.com", false},
      {"*@*.example.com", "a@sub.example.com", "sub.example.com", true},
      {"*@*.example.com", "a@example.com", "example.com", false},
      {"bounce-*@example.com", "bounce-1-2@example.com", "example.com", true},
      {"bounce-*-x@example.com", "bounce-1-x-x@example.com", "example.com", true},
      {"bounce-*-x@example.com", "bounce-1-x-y@example.com", "example.com", false},
      {"*@m\xc3\xbcnchen.example", "a@m\xc3\xbcnchen.example", "xn--mnchen-3ya.example", true},
      {"\"a b\"@example.com", "\"a b\"@example.com", "example.com", true},
      {"*@*", "a@b.example", "b.example", true},
      {"**@**", "a@b.example", "b.example", true},
  };
  for (const Row& row : rows) {
    const auto pattern = AddressPattern::Parse(row.pattern);
    ASSERT_TRUE(pattern) << row.pattern;
    EXPECT_EQ(pattern->Match(row.address, row.domain), row.matches) << row.pattern << " " << row.address;
    const auto again = AddressPattern::Parse(pattern->text());
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, *pattern);
  }
  const auto any = *AddressPattern::Parse("*@*");
  EXPECT_FALSE(any.Match(std::string(5000, 'a') + "@b.example", "b.example")) << "longer than any address";
}

TEST(AddressPattern, BadOnesAreRefused) {
  for (const char* text : {"", "@", "a", "a@", "@example.com", "a@exa mple", "a@b;c", "a@*;c", "a\nb@example.com",
                           "a@m\xc3\xbc*.example"}) {
    EXPECT_FALSE(AddressPattern::Parse(text)) << text;
  }
}

TEST(OrganizationalDomain, ByThePublicSuffixList) {
  EXPECT_EQ(OrganizationalDomain("a.b.example.com"), "example.com");
  EXPECT_EQ(OrganizationalDomain("example.com"), "example.com");
  EXPECT_EQ(OrganizationalDomain("a.example.co.uk"), "example.co.uk");
  EXPECT_EQ(OrganizationalDomain("co.uk"), "");
  EXPECT_EQ(OrganizationalDomain("com"), "");
  EXPECT_EQ(OrganizationalDomain("a.b.unknown-tld"), "b.unknown-tld");
  EXPECT_EQ(OrganizationalDomain("mail.fedoraproject.org"), "fedoraproject.org");
  EXPECT_EQ(OrganizationalDomain("vm1.cloud.fedoraproject.org"), "vm1.cloud.fedoraproject.org");
}

}  // namespace
}  // namespace hallmark::snapshot
