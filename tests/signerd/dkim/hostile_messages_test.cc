#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "signerd/dkim/author.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using enum Reason;
using namespace std::literals;
using testing::HasSubstr;

const std::string kFrom = "From: joe@example.com\r\n";
const std::string kEnd = "\r\nbody\r\n";

struct Hostile {
  const char* name;
  std::string message;
  Reason reason;
  const char* says;
};

std::string Repeat(std::string_view piece, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += piece;
  return text;
}

std::string AllOctets() {
  std::string octets;
  for (int c = 0; c < 256; ++c) octets += static_cast<char>(c);
  return octets;
}

Hostile From(const char* name, const std::string& value, const char* says) {
  return {name, "From:" + value + "\r\nSubject: x\r\n" + kEnd, kFromUnusable, says};
}

const Hostile kHostile[] = {
    // What is no message at all.
    {"Nothing", "", kFromMissing, "no From field"},
    {"BlankLine", "\r\n", kFromMissing, "no From field"},
    {"BodyOnly", "\r\nFrom: joe@example.com\r\n", kFromMissing, "no From field"},
    {"Text", "Hello, this is no message.\r\n", kHeaderMalformed, "line 1 has no colon"},
    {"NulsOnly", std::string(1000, '\0'), kHeaderMalformed, "line 1 has no colon"},
    {"AllOctets", AllOctets(), kHeaderMalformed, "line 1 has no colon"},
    {"TlsRecord", "\x16\x03\x01\x02\x01\x01:\x01\xfc\x03\x03\r\n", kHeaderMalformed,
     "line 1 has a field name with an octet"},
    {"HttpRequest", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", kHeaderMalformed, "line 1 has no colon"},
    {"SmtpDialogue", "EHLO client\r\nMAIL FROM:<joe@example.com>\r\n", kHeaderMalformed, "line 1 has no colon"},
    {"ByteOrderMark", "\xef\xbb\xbf" + kFrom + kEnd, kHeaderMalformed, "line 1 has a field name with an octet"},
    {"Utf16", "F\0r\0o\0m\0:\0\r\0\n\0"s, kHeaderMalformed, "line 1 has a field name with an octet"},
    {"Pem", "-----BEGIN PRIVATE KEY-----\r\nMC4=\r\n", kHeaderMalformed, "line 1 has no colon"},
    // Lines that are no field.
    {"NoColon", kFrom + "no colon\r\n" + kEnd, kHeaderMalformed, "line 2 has no colon"},
    {"NoColonLast", kFrom + "Subject: x\r\nword", kHeaderMalformed, "line 3 has no colon"},
    {"DotLine", kFrom + ".\r\n" + kEnd, kHeaderMalformed, "line 2 has no colon"},
    {"MailboxLine", "From joe@example.com Fri Jul 11 21:00:37 2003\r\n" + kFrom + kEnd, kHeaderMalformed,
     "mbox separator"},
    {"MailboxLineLater", kFrom + "From joe Fri Jul 11 21:00:37 2003\r\n" + kEnd, kHeaderMalformed,
     "line 2 is an mbox separator"},
    {"QuotedMailboxLine", ">From joe Fri Jul 11 21:00:37 2003\r\n" + kFrom + kEnd, kHeaderMalformed, "mbox separator"},
    {"FoldFirst", " fold\r\n" + kFrom + kEnd, kHeaderMalformed, "line 1 begins with white space"},
    {"TabFirst", "\tSubject: x\r\n" + kFrom + kEnd, kHeaderMalformed, "line 1 begins with white space"},
    {"SpaceLineFirst", " \r\n" + kFrom + kEnd, kHeaderMalformed, "line 1 begins with white space"},
    {"EmptyName", kFrom + ": x\r\n" + kEnd, kHeaderMalformed, "line 2 has no field name"},
    {"SpaceInName", kFrom + "Sub ject: x\r\n" + kEnd, kHeaderMalformed, "line 2 has a field name with an octet"},
    {"TabInName", kFrom + "Sub\tject: x\r\n" + kEnd, kHeaderMalformed, "line 2 has a field name with an octet"},
    {"NulInName", kFrom + "Sub\0ject: x\r\n"s + kEnd, kHeaderMalformed, "line 2 has a field name with an octet"},
    {"ControlInName", kFrom + "Sub\x07ject: x\r\n" + kEnd, kHeaderMalformed, "line 2 has a field name with an octet"},
    {"DeleteInName", kFrom + "Sub\x7fject: x\r\n" + kEnd, kHeaderMalformed, "line 2 has a field name with an octet"},
    {"Utf8Name",
     kFrom +
         "Betr\xc3\xa9"
         "ff: x\r\n" +
         kEnd,
     kHeaderMalformed, "line 2 has a field name with an octet"},
    {"HiddenByBareCr", kFrom + "Subject: x\rno colon\r\n" + kEnd, kHeaderMalformed, "line 3 has no colon"},
    {"HiddenByBareLf", kFrom + "Subject: x\nno colon\r\n" + kEnd, kHeaderMalformed, "line 3 has no colon"},
    {"EndsInBareCr", kFrom + "Subject: x\r\r\nTo: a@b\r\n" + kEnd, kHeaderMalformed, "ends in a bare CR"},
    {"BareCrAsBlankLine", kFrom + "\rTo: a@b\r\n" + kEnd, kHeaderMalformed, "ends in a bare CR"},
    {"FromAfterBareCrBlankLine", "Subject: x\r\r\n" + kFrom + kEnd, kHeaderMalformed, "ends in a bare CR"},
    {"LineNumberCountsFolds", kFrom + "Subject: x\r\n y\r\n z\r\nno colon\r\n" + kEnd, kHeaderMalformed,
     "line 5 has no colon"},
    // Too much of it.
    {"EndlessLine", std::string(2 << 20, 'x'), kHeaderTooLarge, "larger than 1048576 octets"},
    {"LargeField", kFrom + "X: " + std::string(1 << 20, 'x') + "\r\n" + kEnd, kHeaderTooLarge,
     "larger than 1048576 octets"},
    {"LargeFold", kFrom + "X: y\r\n" + Repeat(" y\r\n", 300'000) + kEnd, kHeaderTooLarge, "larger than 1048576 octets"},
    {"ManyFields", kFrom + Repeat("X: y\r\n", 10'000) + kEnd, kHeaderTooLarge, "more than 10000 fields"},
    {"ManySignedFields", kFrom + Repeat("To: a@b\r\n", 1000) + kEnd, kHeaderTooLarge,
     "more than 1000 fields to be signed"},
    // Whose message it is.
    {"NoFrom", "To: ann@example.net\r\nSubject: x\r\n" + kEnd, kFromMissing, "no From field"},
    {"FromInTheBody", "Subject: x\r\n\r\n" + kFrom, kFromMissing, "no From field"},
    {"OnlySender", "Sender: joe@example.com\r\n" + kEnd, kFromMissing, "no From field"},
    {"OnlyResentFrom", "Resent-From: joe@example.com\r\n" + kEnd, kFromMissing, "no From field"},
    {"FromInAFold", "Subject: x\r\n From: joe@example.com\r\n" + kEnd, kFromMissing, "no From field"},
    {"TwoFroms", kFrom + kFrom + kEnd, kFromRepeated, "more than one From"},
    {"TwoFromsInOddCase", kFrom + "fRoM: evil@example.net\r\n" + kEnd, kFromRepeated, "more than one From"},
    {"TwoFromsWithSpaceBeforeColon", kFrom + "From : evil@example.net\r\n" + kEnd, kFromRepeated, "more than one From"},
    {"TwoFromsByBareLf", "Subject: x\nFrom: evil@example.net\r\n" + kFrom + kEnd, kFromRepeated, "more than one From"},
    {"TwoFromsByBareCr", "Subject: x\rFrom: evil@example.net\r\n" + kFrom + kEnd, kFromRepeated, "more than one From"},
    {"ManyFroms", Repeat(kFrom, 5000) + kEnd, kFromRepeated, "more than one From"},
    // What its author's domain is.
    From("EmptyFrom", "", "there is no mailbox"),
    From("BlankFrom", " \t ", "there is no mailbox"),
    From("FoldedBlankFrom", "\r\n \r\n\t", "there is no mailbox"),
    From("CommasOnly", " ,,,", "there is no mailbox"),
    From("CommentOnly", " (joe@example.com)", "there is no mailbox"),
    From("EmptyGroup", " Undisclosed recipients:;", "there is no mailbox"),
    From("NameOnly", " Joe", "the address has no domain"),
    From("QuotedAddress", " \"joe@example.com\"", "the address has no domain"),
    From("EncodedAddress", " =?utf-8?q?joe=40example.com?=", "the address has no domain"),
    From("NullAddress", " <>", "the address is empty"),
    From("RouteOnly", " <@a.example:>", "the address is empty"),
    From("RouteWithoutEnd", " <@a.example>", "the address is empty"),
    From("AtOnly", " @", "the address has no local part"),
    From("NoLocalPart", " @example.com", "the address has no local part"),
    From("NoDomain", " joe@", "the address has no usable domain: an empty domain name"),
    From("NoDomainInTheAngle", " Joe <joe@>", "the address has no usable domain: an empty domain name"),
    From("Literal", " joe@[192.0.2.1]", "domain literal"),
    From("LiteralOfIpv6", " joe@[IPv6:2001:db8::1]", "domain literal"),
    From("LiteralInTheAngle", " <joe@[IPv6:2001:db8::1]>", "domain literal"),
    From("TwoDomains", " joe@example.com, ann@example.net", "different domains"),
    From("TwoDomainsInAGroup", " Team: joe@example.com, ann@example.net;", "different domains"),
    From("SecondWithoutDomain", " joe@example.com, ann", "the address has no domain"),
    From("UnquotedCommaInTheName", " Smith, Joe <joe@example.com>", "the address has no domain"),
    From("TwoAddressesWithoutComma", " joe@example.com ann@example.net", "white space within"),
    From("SpaceInTheLocalPart", " <joe smith@example.com>", "white space within"),
    From("SpaceInTheDomain", " joe@exa mple.com", "white space within"),
    From("CommentInTheDomain", " joe@exa(c)mple.com", "white space within"),
    From("FoldInTheDomain", " joe@exa\r\n mple.com", "white space within"),
    From("TwoAngles", " <joe@example.com> <ann@example.net>", "two angle brackets"),
    From("NestedAngles", " <joe@example.com<ann@example.net>>", "two angle brackets"),
    From("TextAfterTheAngle", " <joe@example.com> ann@example.net",
         "text between an angle bracket and the next mailbox"),
    From("AddressAsGroup", " joe@example.com: ann@example.net;", "address before a colon"),
    From("AngleAsGroup", " <joe@example.com>: ann@example.net;", "address before a colon"),
    From("OpenAngle", " Joe <joe@example.com", "angle bracket is not closed"),
    From("ClosedAngle", " Joe joe@example.com>", "closed that was not opened"),
    From("OpenQuote", " \"Joe <joe@example.com>", "quoted string does not end"),
    From("OpenQuoteByEscape", " \"Joe\\\" <joe@example.com>", "quoted string does not end"),
    From("OpenComment", " joe@example.com (Joe", "comment does not end"),
    From("OpenCommentByEscape", " joe@example.com (Joe\\)", "comment does not end"),
    From("DeepComments", std::string(300'000, '(') + "joe@example.com", "comment does not end"),
    From("ColonsInALiteral", "[" + std::string(1'000'000, ':'), "the address has no domain"),
    From("TagsInTheDomain", " joe@example.com;d=example.net", "the address has no domain"),
    // Readers disagree about whose these are: ceo's or u's.
    From("CommaInTheAngle", " <ceo@example.com,u@news.example.com>", "the local part"),
    From("SemicolonInTheAngle", " <ceo@example.com;u@news.example.com>", "the local part"),
    From("ColonInTheAngle", " <ceo@example.com:u@news.example.com>", "the local part"),
    From("CommaWithSpaceInTheAngle", " <ceo@example.com , u@news.example.com>", "white space within"),
    From("TwoAts", " ceo@example.com@news.example.com", "the local part"),
    From("TwoAtsInTheAngle", " <ceo@example.com@news.example.com>", "the local part"),
    From("LiteralInTheLocalPart", " <ceo@[example.com]@news.example.com>", "the local part"),
    From("CommaInTheLocalPart", " <ceo,u@news.example.com>", "the local part"),
    From("BackslashInTheLocalPart", " <ceo\\@example.com@news.example.com>", "the local part"),
    From("WordAfterQuotes", " <\"ceo@example.com\"u@news.example.com>", "the local part"),
    From("QuotesWithinAWord", " <ceo\"@example.com\"@news.example.com>", "the local part"),
    From("QuotesAfterQuotes", " <\"ceo@\"\"example.com\"@news.example.com>", "the local part"),
    From("BrokenUtf8LocalPart", " <u\xc3@news.example.com>", "the local part"),
    From("AddressInTheRoute", " <@a.example,ceo@example.com:u@news.example.com>", "route"),
    From("TwoAtsInTheRoute", " <@ceo@example.com:u@news.example.com>", "route"),
    From("NoDomainInTheRoute", " <@:u@news.example.com>", "route"),
    From("SlashesInTheDomain", " joe@../../etc/passwd", "is not a domain name"),
    From("EmptyLabel", " joe@example..com", "is not a domain name"),
    From("LeadingDot", " joe@.example.com", "is not a domain name"),
    From("LeadingHyphen", " joe@-example.com", "is not a domain name"),
    From("UnderscoreInTheDomain", " joe@exa_mple.com", "is not a domain name"),
    From("Label64", " joe@" + std::string(64, 'x') + ".com", "is not a domain name"),
    From("Domain300", " joe@" + Repeat("abcdefghi.", 30) + "com", "is not a domain name"),
    From("NulInTheName", " ceo@example.com\0 <u@news.example.com>"s, "control character"),
    From("NulInQuotes", " \"ceo@example.com\0\" <u@news.example.com>"s, "control character"),
    From("NulInAComment", " (\0) u@news.example.com"s, "control character"),
    From("NulAfterABackslash", " \"\\\0\" <u@news.example.com>"s, "control character"),
    From("NulInTheDomain", " joe@example.com\0.net"s, "control character"),
    From("NulInTheLocalPart", " j\0oe@example.com"s, "control character"),
    From("EscapeInTheAddress", " joe\x1b[2J@example.com", "control character"),
    From("BrokenUtf8Domain", " joe@ex\xff\xfe.com", "is not an internationalized domain name"),
    From("Latin1Domain",
         " joe@b\xfc"
         "cher.example",
         "is not an internationalized domain name"),
    From("ManyMailboxes", " " + Repeat("joe@example.com,", 1001), "more than 1000 mailboxes"),
};

// The way of a message up to its signature; the header comes in pieces of `size` octets.
Error Refuse(std::string_view message, std::size_t size) {
  HeaderReader reader;
  for (std::size_t at = 0; at < message.size() && !reader.done(); at += size) {
    const auto taken = reader.Push(message.substr(at, size));
    if (!taken) return taken.error();
  }
  const auto header = std::move(reader).Finish();
  if (!header) return header.error();
  const auto author = FindAuthor(*header);
  if (!author) return author.error();
  const auto prepared = Prepare(message);
  return prepared ? MakeError(kInternal, "was signed") : prepared.error();
}

class HostileMessage : public testing::TestWithParam<Hostile> {};

TEST_P(HostileMessage, IsRefusedWithItsReason) {
  const Hostile& row = GetParam();
  for (const std::size_t size : {std::string::npos, std::size_t{997}, std::size_t{1}}) {
    const Error error = Refuse(row.message, size);
    EXPECT_EQ(ReasonName(error.reason), ReasonName(row.reason)) << error.message;
    EXPECT_THAT(error.message, HasSubstr(row.says));
    EXPECT_LT(error.message.size(), 400u);
    for (const char c : error.message) ASSERT_TRUE(c >= ' ' && c < '\x7f') << "hostile octets in an error";
  }
}

INSTANTIATE_TEST_SUITE_P(Of, HostileMessage, testing::ValuesIn(kHostile),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(HostileMessages, AreMany) { EXPECT_GE(std::size(kHostile), 60u); }

// Looks hostile, and is a message all the same.
TEST(OddMessage, IsSigned) {
  const std::pair<const char*, std::string> odd[] = {
      {"colons only", kFrom + "X:::::\r\n" + kEnd},
      {"JSON is a field name", "{\"From\": \"x\"}\r\n" + kFrom + kEnd},
      {"9,000 fields", kFrom + Repeat("X: y\r\n", 9000) + kEnd},
      {"tags in a value", kFrom + "Subject: ; d=example.net; b=x\r\n" + kEnd},
      {"old signature that is none", "DKIM-Signature: ;;;\r\n" + kFrom + kEnd},
      {"a fold of only spaces", kFrom + "Subject: x\r\n \r\n" + kEnd},
      {"name of 100 kB", kFrom + std::string(100'000, 'X') + ": y\r\n" + kEnd},
      {"a million blank lines", kFrom + "\r\n" + Repeat("\r\n", 1'000'000)},
      {"a million spaces", kFrom + "\r\n" + std::string(1'000'000, ' ') + "x\r\n"},
      {"8 MB in one line", kFrom + "\r\n" + std::string(8 << 20, 'x')},
      {"every octet in the body", kFrom + "\r\n" + AllOctets()},
      {"SMTP in the body", kFrom + "\r\n.\r\nMAIL FROM:<x>\r\n"},
  };
  for (const auto& [name, message] : odd) {
    SCOPED_TRACE(name);
    EXPECT_EQ(Verdicts(SignMessage(message), ZoneOf({})).substr(0, 4), "pass");
  }
}

}  // namespace
}  // namespace dkim_test
