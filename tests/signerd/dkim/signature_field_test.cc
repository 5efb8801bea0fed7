#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "signerd/dkim/signature_field.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using testing::HasSubstr;

const std::string kHash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

// The field with this value, in a header that keeps its octets.
Header WithField(const std::string& value) { return std::move(*Header::Parse("DKIM-Signature:" + value + "\r\n")); }

std::string ErrorOf(const std::string& value) {
  const Header header = WithField(value);
  const auto field = ParseSignatureField(header.fields().front());
  return field ? "(none)" : field.error().message;
}

std::string Good() {
  return " v=1; a=rsa-sha256; c=relaxed/simple; d=example.com; s=sel; t=100; x=200; h=from:to; bh=" + kHash +
         "; b=AQID";
}

// The good field with one part in place of another.
std::string With(const std::string& part, const std::string& other) {
  std::string field = Good();
  const std::size_t at = field.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return field.replace(at, part.size(), other);
}

TEST(SignatureFieldParser, ReadsEveryTag) {
  const Header header = WithField(
      " v=1; a=Ed25519-SHA256; c=Simple/Relaxed; d=Example.COM; i=joe@Sub.example.com; l=7;"
      " q=dns/txt; s=Sel.Sub; t=100; x=200; z=From:x; h=From : to:\r\n\tSubject; bh=\r\n " +
      kHash + "; y=unknown; b= AQ\r\n\tID ;");
  const auto field = ParseSignatureField(header.fields().front());
  ASSERT_TRUE(field) << field.error().message;
  EXPECT_EQ(field->algorithm, Algorithm::kEd25519Sha256);
  EXPECT_EQ(field->header, Canonicalization::kSimple);
  EXPECT_EQ(field->body, Canonicalization::kRelaxed);
  EXPECT_EQ(field->domain, "example.com");
  EXPECT_EQ(field->selector, "sel.sub");
  EXPECT_EQ(field->auid_domain, "sub.example.com");
  EXPECT_EQ(field->body_length, 7u);
  EXPECT_EQ(field->signed_at->time_since_epoch().count(), 100);
  EXPECT_EQ(field->expires->time_since_epoch().count(), 200);
  EXPECT_THAT(field->signed_names, testing::ElementsAre("From", "to", "Subject"));
  EXPECT_EQ(field->body_hash, Sha256Of(""));
  EXPECT_EQ(field->signature, (Bytes{1, 2, 3}));
}

struct CanonicalizationCase {
  const char* c;
  Canonicalization header, body;
};

TEST(SignatureFieldParser, KnowsTheDefaultsOfC) {
  using enum Canonicalization;
  for (const auto& [c, header_form, body_form] : {CanonicalizationCase{"", kSimple, kSimple},
                                                  {"c=simple;", kSimple, kSimple},
                                                  {"c=relaxed;", kRelaxed, kSimple},
                                                  {"c=simple/relaxed;", kSimple, kRelaxed},
                                                  {"c=relaxed/simple;", kRelaxed, kSimple},
                                                  {"c=relaxed/relaxed;", kRelaxed, kRelaxed}}) {
    const Header header = WithField(With("c=relaxed/simple;", c));
    const auto field = ParseSignatureField(header.fields().front());
    ASSERT_TRUE(field) << c;
    EXPECT_EQ(field->header, header_form) << c;
    EXPECT_EQ(field->body, body_form) << c;
  }
}

struct RemovalCase {
  const char* name;
  std::string value, without;
};

const RemovalCase kRemovals[] = {
    {"Last", " b=AQID", " b="},
    {"LastWithSemicolon", " b=AQID;", " b=;"},
    {"LastAndFolded", "\r\n b=AQ\r\n ID", "\r\n b="},
    {"SpaceAfterTheEquals", " b= \r\n AQID", " b="},
    {"SpaceAtTheEnd", " b=AQID \t", " b="},
    {"SpaceBeforeTheSemicolon", " b=AQID \r\n ;", " b=;"},
    {"SpaceBeforeTheEquals", " b =AQID", " b ="},
    {"InTheMiddle", " b=AQID; n=x", " b=; n=x"},
    {"InTheMiddleFolded", " b=AQ\r\n\tID\r\n ;\r\n n=x", " b=;\r\n n=x"},
};

class Removal : public testing::TestWithParam<RemovalCase> {};

TEST_P(Removal, LeavesAllButTheValueOfB) {
  const Header header = WithField(With(" b=AQID", GetParam().value));
  const auto field = ParseSignatureField(header.fields().front());
  ASSERT_TRUE(field) << field.error().message;
  EXPECT_EQ(Escaped(field->without_signature), Escaped("DKIM-Signature:" + With(" b=AQID", GetParam().without)));
}

INSTANTIATE_TEST_SUITE_P(OfB, Removal, testing::ValuesIn(kRemovals),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Removal, IsNotMisledByB) {
  // A field name, bh= and a tag that ends in b, all with "b=" in them.
  const Header header = WithField(" bb=b; ab=b;" + Good());
  const auto field = ParseSignatureField(header.fields().front());
  ASSERT_TRUE(field) << field.error().message;
  EXPECT_EQ(field->without_signature, "DKIM-Signature: bb=b; ab=b;" + With("b=AQID", "b="));
}

struct FaultCase {
  const char* name;
  std::string part, other;
  const char* says;
};

const FaultCase kFaults[] = {
    {"NoVersion", "v=1; ", "", "v= is missing"},
    {"OtherVersion", "v=1", "v=2", "v= is not 1"},
    {"VersionWithZero", "v=1", "v=01", "v= is not 1"},
    {"NoAlgorithm", "a=rsa-sha256; ", "", "a= is missing"},
    {"EmptyAlgorithm", "a=rsa-sha256", "a=", "a= is missing"},
    {"Sha1", "a=rsa-sha256", "a=rsa-sha1", "a= is not an algorithm that is accepted (RFC 8301, RFC 8463)"},
    {"OtherAlgorithm", "a=rsa-sha256", "a=ecdsa-sha256",
     "a= is not an algorithm that is accepted (RFC 8301, RFC 8463)"},
    {"EmptyC", "c=relaxed/simple", "c=", "c= is empty"},
    {"OtherC", "c=relaxed/simple", "c=nowsp", "c= is not a canonicalization that is known"},
    {"OtherBodyC", "c=relaxed/simple", "c=relaxed/nowsp", "c= is not a canonicalization that is known"},
    {"CWithSlash", "c=relaxed/simple", "c=relaxed/", "c= is not a canonicalization that is known"},
    {"NoDomain", "d=example.com; ", "", "d= is missing"},
    {"EmptyDomain", "d=example.com", "d=", "d= is missing"},
    {"BadDomain", "d=example.com", "d=exa_mple.com", "d= is not a domain name"},
    {"DomainWithAt", "d=example.com", "d=joe@example.com", "d= is not a domain name"},
    {"NoSelector", "s=sel; ", "", "s= is missing"},
    {"EmptySelector", "s=sel", "s=", "s= is missing"},
    {"BadSelector", "s=sel", "s=..", "s= is not a selector"},
    {"NoFields", "h=from:to; ", "", "h= is missing"},
    {"EmptyFields", "h=from:to", "h=", "h= is missing"},
    {"FromNotSigned", "h=from:to", "h=to:subject", "h= does not sign From"},
    {"FromNotSignedButLikeIt", "h=from:to", "h=x-from:fromm", "h= does not sign From"},
    {"NoBodyHash", "bh=", "bx=", "bh= is missing"},
    {"ShortBodyHash", kHash, "AQID", "bh= is not the base64 of 32 octets"},
    {"BodyHashNotBase64", kHash, "!!!!", "bh= is not the base64 of 32 octets"},
    {"NoSignature", " b=AQID", "", "b= is missing"},
    {"EmptySignature", "b=AQID", "b=", "b= is missing"},
    {"SignatureNotBase64", "b=AQID", "b=AQI", "b= is not base64"},
    {"IdentityElsewhere", "s=sel", "s=sel; i=@example.net", "i= is not within d="},
    {"IdentityLooksWithin", "s=sel", "s=sel; i=@fexample.com", "i= is not within d="},
    {"IdentityAbove", "s=sel", "s=sel; i=@com", "i= is not within d="},
    {"IdentityWithoutAt", "s=sel", "s=sel; i=example.com", "i= has no @"},
    {"IdentityWithoutDomain", "s=sel", "s=sel; i=joe@", "i= has no domain name"},
    {"TimeNotANumber", "t=100", "t=now", "t= is not a number"},
    {"TimeEmpty", "t=100", "t=", "t= is not a number"},
    {"TimeNegative", "t=100", "t=-1", "t= is not a number"},
    {"TimeTooLarge", "t=100", "t=99999999999999999999999", "t= is not a number"},
    {"TimeAfterAllTime", "t=100", "t=999999999999", "t= is out of range"},
    {"ExpiryNotANumber", "x=200", "x=1e9", "x= is not a number"},
    {"ExpiryBeforeTime", "x=200", "x=99", "x= is not after t="},
    {"ExpiryAtTime", "x=200", "x=100", "x= is not after t="},
    {"LengthNotANumber", "s=sel", "s=sel; l=all", "l= is not a number"},
    {"LengthNegative", "s=sel", "s=sel; l=-1", "l= is not a number"},
    {"OtherQuery", "s=sel", "s=sel; q=http", "q= does not offer dns/txt"},
    {"EmptyElement", "s=sel;", "s=sel;;", "the tag list has an empty element"},
    {"TagTwice", "s=sel;", "s=sel; d=example.net;", "the tag list has d= twice"},
    {"NoEquals", "s=sel;", "s=sel; word;", "the tag list has an element without \"=\""},
    {"NoName", "s=sel;", "s=sel; =x;", "the tag list has an element without a valid name"},
    {"NameWithDigitFirst", "s=sel;", "s=sel; 1a=x;", "the tag list has an element without a valid name"},
    {"NameInUtf8", "s=sel;", "s=sel; \xc3\xbc=x;", "the tag list has an element without a valid name"},
    {"UpperCaseTagIsAnother", "d=example.com", "D=example.com", "d= is missing"},
};

class Fault : public testing::TestWithParam<FaultCase> {};

TEST_P(Fault, IsNamed) { EXPECT_EQ(ErrorOf(With(GetParam().part, GetParam().other)), GetParam().says); }

INSTANTIATE_TEST_SUITE_P(InASignature, Fault, testing::ValuesIn(kFaults),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Fault, IsNotInTheGoodField) { EXPECT_EQ(ErrorOf(Good()), "(none)"); }

TEST(Fault, OfTooMuch) {
  std::string names = "h=from";
  for (int i = 0; i < 100'000; ++i) names += ":x";
  EXPECT_EQ(ErrorOf(With("h=from:to", names)), "h= has more than 1000 names");
  std::string tags;
  for (int i = 0; i < 50'000; ++i) tags += " a" + std::to_string(i) + "=b;";
  EXPECT_EQ(ErrorOf(tags + Good()), "the tag list has more than 100 tags");
  EXPECT_THAT(ErrorOf(With("b=AQID", "b=" + std::string(300'000, 'A'))), HasSubstr("(none)"));
}

TEST(Fault, OfAnEmptyField) {
  EXPECT_EQ(ErrorOf(""), "v= is missing");
  EXPECT_EQ(ErrorOf(" \r\n "), "v= is missing");
  EXPECT_EQ(ErrorOf(" ;"), "the tag list has an empty element");
}

// Every prefix of a good field gives an answer.
TEST(Fault, OfATruncatedField) {
  const std::string good = Good();
  for (std::size_t size = 0; size < good.size() - 6; ++size) EXPECT_NE(ErrorOf(good.substr(0, size)), "(none)") << size;
}

TEST(NamesOf, AreGivenForAFieldThatCannotBeParsed) {
  const Header header = WithField(" v=9; d=example.com; s=sel; a=rsa-sha1; c=nowsp");
  const SignatureNames names = NamesOf(header.fields().front());
  EXPECT_EQ(names.domain, "example.com");
  EXPECT_EQ(names.selector, "sel");
  EXPECT_EQ(names.algorithm, "rsa-sha1");
  EXPECT_EQ(names.canonicalization, "nowsp");
  EXPECT_EQ(NamesOf(WithField(" ;;").fields().front()).domain, "");
}

}  // namespace
}  // namespace dkim_test
