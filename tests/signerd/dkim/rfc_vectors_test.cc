#include <gtest/gtest.h>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/ascii.h"
#include "signerd/dkim/canonical.h"
#include "signerd/dkim/key_record.h"
#include "signerd/dkim/signature_field.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;

constexpr const char* kBodyHash = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

// tests/vectors/zone.txt: "name value" lines.
Zone RfcZone() {
  Zone zone;
  std::istringstream lines(Vector("zone.txt"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t space = line.find(' ');
    if (!line.starts_with('#') && space != std::string::npos) zone.Add(line.substr(0, space), line.substr(space + 1));
  }
  return zone;
}

Header HeaderOf(const std::string& message) {
  HeaderReader reader;
  EXPECT_TRUE(reader.Push(message));
  return std::move(*std::move(reader).Finish());
}

std::string BodyOf(const std::string& message) { return message.substr(message.find("\r\n\r\n") + 4); }

std::vector<SignatureField> SignaturesOf(const Header& header) {
  std::vector<SignatureField> signatures;
  for (const Field& field : header.fields()) {
    if (!EqualsIgnoringCase(field.name, "dkim-signature")) continue;
    auto signature = ParseSignatureField(field);
    EXPECT_TRUE(signature) << signature.error().message;
    if (signature) signatures.push_back(std::move(*signature));
  }
  return signatures;
}

TEST(Rfc6376, SignedMessageVerifies) { EXPECT_EQ(Verdicts(Vector("signed/rfc6376-a2.eml"), RfcZone()), "pass"); }

TEST(Rfc6376, BodyAsPrintedDoesNotVerify) {
  EXPECT_EQ(Verdicts(Vector("bad/rfc6376-a2-double-space-body.eml"), RfcZone()),
            "fail: the body hash does not match: the body was changed");
}

TEST(Rfc6376, BodyHashIsExact) {
  const std::string body = BodyOf(Vector("unsigned/rfc6376-a1.eml"));
  EXPECT_EQ(CanonicalBody(Canonicalization::kSimple, body), body);
  EXPECT_EQ(Base64Encode(HashBody(Canonicalization::kSimple, body).digest), kBodyHash);
}

TEST(Rfc6376, SignedMessageIsTheUnsignedOneWithAField) {
  const std::string message = Vector("signed/rfc6376-a2.eml");
  EXPECT_EQ(message.substr(message.find("Received:")), Vector("unsigned/rfc6376-a1.eml"));
}

TEST(Rfc6376, SignatureIsReproduced) {
  const Header header = HeaderOf(Vector("signed/rfc6376-a2.eml"));
  const auto signatures = SignaturesOf(header);
  ASSERT_EQ(signatures.size(), 1u);
  const TestKey key = TestKey::FromPem(HALLMARK_TESTS_DIR "/vectors/rfc6376-brisbane.pem");
  EXPECT_EQ(key.Sign(HeaderHash(header, signatures[0])), signatures[0].signature);
}

TEST(Rfc8463, SignedMessageVerifies) { EXPECT_EQ(Verdicts(Vector("signed/rfc8463-a3.eml"), RfcZone()), "pass\npass"); }

TEST(Rfc8463, BodyHashIsExact) {
  const std::string body = BodyOf(Vector("unsigned/rfc8463.eml"));
  EXPECT_EQ(CanonicalBody(Canonicalization::kRelaxed, body),
            "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n");
  EXPECT_EQ(Base64Encode(HashBody(Canonicalization::kRelaxed, body).digest), kBodyHash);
}

TEST(Rfc8463, CanonicalHeaderIsExact) {
  std::string canonical;
  const Header header = HeaderOf(Vector("unsigned/rfc8463.eml"));
  for (const Field& field : header.fields()) AppendCanonicalField(Canonicalization::kRelaxed, field.raw, canonical);
  EXPECT_EQ(canonical,
            "from:Joe SixPack <joe@football.example.com>\r\n"
            "to:Suzie Q <suzie@shopping.example.net>\r\n"
            "subject:Is dinner ready?\r\n"
            "date:Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
            "message-id:<20030712040037.46341.5F8J@football.example.com>\r\n");
}

// Both algorithms are deterministic: the same key over the same header gives the same octets.
TEST(Rfc8463, SignaturesAreReproducedBitForBit) {
  const Header header = HeaderOf(Vector("signed/rfc8463-a3.eml"));
  const auto signatures = SignaturesOf(header);
  ASSERT_EQ(signatures.size(), 2u);

  const auto seed = Base64Decode(TrimFws(Vector("rfc8463-ed25519-seed.b64")));
  ASSERT_TRUE(seed);
  EXPECT_EQ(Base64Encode(TestKey::FromSeed(*seed).Sign(HeaderHash(header, signatures[0]))),
            "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
  EXPECT_EQ(Base64Encode(signatures[0].signature),
            Base64Encode(TestKey::FromSeed(*seed).Sign(HeaderHash(header, signatures[0]))));

  const TestKey rsa = TestKey::FromPem(HALLMARK_TESTS_DIR "/vectors/rfc8463-rsa-test.pem");
  EXPECT_EQ(rsa.Sign(HeaderHash(header, signatures[1])), signatures[1].signature);
}

TEST(Rfc8463, RecordsAreThoseOfTheKeys) {
  const auto seed = Base64Decode(TrimFws(Vector("rfc8463-ed25519-seed.b64")));
  EXPECT_EQ(RfcZone().Lookup()("brisbane._domainkey.football.example.com")->front(),
            KeyRecordValue(TestKey::FromSeed(*seed).Public()));
  EXPECT_EQ(KeyRecordValue(TestKey::FromPem(HALLMARK_TESTS_DIR "/vectors/rfc8463-ed25519-pkcs8.pem").Public()),
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
  EXPECT_EQ(RfcZone().Lookup()("test._domainkey.football.example.com")->front(),
            KeyRecordValue(TestKey::FromPem(HALLMARK_TESTS_DIR "/vectors/rfc8463-rsa-test.pem").Public()));
}

}  // namespace
}  // namespace dkim_test
