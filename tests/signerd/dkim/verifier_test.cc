#include <gtest/gtest.h>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/key_record.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using namespace std::chrono_literals;

const std::string kMessage =
    "From: Joe <joe@example.com>\r\nTo: ann@example.net\r\nSubject: x y\r\nX-Other: z\r\n\r\nHello.\r\n\r\nJoe\r\n";
constexpr const char* kName = "sel._domainkey.example.com";
constexpr const char* kBadSignature =
    "fail: the signature does not verify: the signed header fields or the key are different";
constexpr const char* kBadBody = "fail: the body hash does not match: the body was changed";

std::string Replaced(std::string text, std::string_view part, std::string_view other) {
  const std::size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.replace(at, part.size(), other);
}

struct ChangeCase {
  const char* name;
  const char *part, *other;  // in the signed message
  const char* verdict;
};

constexpr ChangeCase kChanges[] = {
    {"Nothing", "Hello", "Hello", "pass"},
    {"Body", "Hello", "Hullo", kBadBody},
    {"BodyGrows", "Joe\r\n", "Joe\r\nPS\r\n", kBadBody},
    {"BodySpace", "Hello.", "Hello. ", "pass"},
    {"BodyBlankLinesAtTheEnd", "Joe\r\n", "Joe\r\n\r\n\r\n", "pass"},
    {"BodyBlankLineWithin", "\r\n\r\nJoe", "\r\n\r\n\r\nJoe", kBadBody},
    {"Subject", "x y", "x z", kBadSignature},
    {"SubjectSpace", "x y", "x \t y  ", "pass"},
    {"SubjectFold", "x y", "x\r\n y", "pass"},
    {"SubjectGoes", "Subject: x y\r\n", "", kBadSignature},
    {"FieldCase", "Subject:", "SUBJECT:", "pass"},
    {"UnsignedField", "X-Other: z", "X-Other: a", "pass"},
    {"UnsignedFieldComes", "X-Other: z", "X-Other: z\r\nX-New: n\r\nReceived: by mx", "pass"},
    {"ListFieldComes", "X-Other: z", "List-Id: <l.example.net>\r\nResent-From: l@example.net", "pass"},
    {"SecondFromComesAbove", "From: Joe", "From: evil@example.net\r\nFrom: Joe", kBadSignature},
    {"SecondFromComesBelow", "X-Other: z", "From: evil@example.net", kBadSignature},
    {"SecondSubjectComes", "From: Joe", "Subject: evil\r\nFrom: Joe", kBadSignature},
    {"CcComes", "X-Other: z", "Cc: evil@example.net", kBadSignature},
    {"ReplyToComes", "X-Other: z", "Reply-To: evil@example.net", kBadSignature},
    {"ContentTypeComes", "X-Other: z", "Content-Type: text/html", kBadSignature},
    {"SelectorOfAnotherKey", "s=sel", "s=oth", kBadSignature},
    {"NoSuchSelector", "s=sel", "s=none", "permerror: there is no key record"},
    {"Domain", "d=example.com", "d=example.net", "permerror: there is no key record"},
    {"TimeOfTheSignature", "t=1700000000", "t=1699999999", kBadSignature},
    {"AlgorithmOfAnotherKey", "a=ed25519-sha256", "a=rsa-sha256", "permerror: the key is of another algorithm than a="},
    {"Sha1", "a=ed25519-sha256", "a=rsa-sha1",
     "permerror: a= is not an algorithm that is accepted (RFC 8301, RFC 8463)"},
    {"Version", "v=1", "v=2", "permerror: v= is not 1"},
    {"FieldName", "DKIM-Signature", "X-DKIM", "no signature"},
    {"FieldRefolded", "; d=", ";\r\n\t d=", "pass"},
    {"LengthAdded", "t=1700000000;", "t=1700000000; l=6;",
     kBadBody},  // l= changes what is hashed; the body is judged last
};

class Change : public testing::TestWithParam<ChangeCase> {};

TEST_P(Change, IsJudged) {
  Zone zone = ZoneOf({});
  zone.Add("oth._domainkey.example.com", KeyRecordValue(TestKey::Ed25519().Public()));
  const std::string message = Replaced(SignMessage(kMessage), GetParam().part, GetParam().other);
  EXPECT_EQ(Verdicts(message, zone), GetParam().verdict);
}

INSTANTIATE_TEST_SUITE_P(Of, Change, testing::ValuesIn(kChanges),
                         [](const auto& row) { return std::string(row.param.name); });

struct RecordCase {
  const char* name;
  std::vector<std::string> records;  // "KEY" and "RSA" stand for the p= of the keys
  const char* verdict;
};

const RecordCase kRecords[] = {
    {"Good", {"v=DKIM1; k=ed25519; p=KEY"}, "pass"},
    {"WithoutVersion", {"k=ed25519; p=KEY"}, "pass"},
    {"SpaceInP", {"v=DKIM1; k=ed25519; p= KEY "}, "pass"},
    {"Testing", {"v=DKIM1; k=ed25519; t=y; p=KEY"}, "pass"},
    {"StrictWithoutSubdomain", {"v=DKIM1; k=ed25519; t=s; p=KEY"}, "pass"},
    {"NoAlgorithmMeansRsa", {"v=DKIM1; p=KEY"}, "permerror: the key is of another algorithm than a="},
    {"Revoked", {"v=DKIM1; k=ed25519; p="}, "permerror: the key is revoked (p= is empty)"},
    {"Rsa", {"v=DKIM1; k=rsa; p=RSA"}, "permerror: the key is of another algorithm than a="},
    {"RsaAsEd25519",
     {"v=DKIM1; k=ed25519; p=RSA"},
     "permerror: key record: an Ed25519 key has 32 octets, not 294 (RFC 8463)"},
    {"WrongVersion", {"v=DKIM2; k=ed25519; p=KEY"}, "permerror: key record: v= is not DKIM1"},
    {"OtherService", {"v=DKIM1; k=ed25519; s=x; p=KEY"}, "permerror: key record: s= does not allow email"},
    {"OnlySha1", {"v=DKIM1; k=ed25519; h=sha1; p=KEY"}, "permerror: key record: h= does not allow sha256"},
    {"SecondIsGood", {"v=spf1 -all", "v=DKIM1; k=ed25519; p=", "v=DKIM1; k=ed25519; p=KEY"}, "pass"},
    {"FirstIsGood", {"v=DKIM1; k=ed25519; p=KEY", "junk"}, "pass"},
    {"NoneIsGood", {"junk", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}, kBadSignature},
    {"EmptyAnswer", {}, "permerror: there is no key record"},
};

class Records : public testing::TestWithParam<RecordCase> {};

TEST_P(Records, AreTried) {
  const auto p = [](const TestKey& key) {
    const std::string value = KeyRecordValue(key.Public());
    return value.substr(value.find("p=") + 2);
  };
  std::vector<std::string> values;
  for (std::string record : GetParam().records) {
    if (const auto at = record.find("KEY"); at != std::string::npos) record.replace(at, 3, p(Ed25519()));
    if (const auto at = record.find("RSA"); at != std::string::npos) record.replace(at, 3, p(Rsa2048()));
    values.push_back(record);
  }
  const KeyLookup lookup = [&](const std::string&) { return Result<std::vector<std::string>>(values); };
  const auto verdicts = VerifyMessage(SignMessage(kMessage), lookup, kNow);
  ASSERT_TRUE(verdicts);
  ASSERT_EQ(verdicts->size(), 1u);
  const SignatureVerdict& verdict = verdicts->front();
  EXPECT_EQ(std::string(VerdictName(verdict.verdict)) + (verdict.reason.empty() ? "" : ": " + verdict.reason),
            GetParam().verdict);
}

INSTANTIATE_TEST_SUITE_P(Of, Records, testing::ValuesIn(kRecords),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Verifier, SaysWhoseSignatureItIs) {
  const auto verdicts = VerifyMessage(SignMessage(kMessage), ZoneOf({}).Lookup(), kNow);
  ASSERT_TRUE(verdicts);
  const SignatureVerdict& verdict = verdicts->front();
  EXPECT_EQ(verdict.domain, "example.com");
  EXPECT_EQ(verdict.selector, "sel");
  EXPECT_EQ(verdict.algorithm, "ed25519-sha256");
  EXPECT_EQ(verdict.canonicalization, "relaxed/relaxed");
  EXPECT_EQ(verdict.body_hash, TagOf(MakeField(kMessage), "bh"));
  EXPECT_EQ(verdict.reason, "");
}

TEST(Verifier, AsksForTheNameOnce) {
  std::vector<std::string> asked;
  const KeyLookup lookup = [&](const std::string& name) {
    asked.push_back(name);
    return ZoneOf({}).Lookup()(name);
  };
  ASSERT_TRUE(VerifyMessage(SignMessage(kMessage), lookup, kNow));
  EXPECT_EQ(asked, std::vector<std::string>{kName});
}

TEST(Verifier, TellsTemporaryFromPermanent) {
  const KeyLookup timeout = [](const std::string&) -> Result<std::vector<std::string>> {
    return MakeError(Reason::kDeadlineExceeded, "no answer in 5 s");
  };
  const auto verdicts = VerifyMessage(SignMessage(kMessage), timeout, kNow);
  EXPECT_EQ(verdicts->front().verdict, Verdict::kTempError);
  EXPECT_EQ(verdicts->front().reason, "the key record cannot be had: no answer in 5 s");
}

// RFC 6376 section 3.5: h= may name the field of signatures, which never stands for the very one that has it.
TEST(Verifier, ASignatureDoesNotSignItself) {
  Signing how;
  how.profile.excluded_fields.clear();
  how.profile.signed_fields.emplace_back("DKIM-Signature");
  const std::string other = "DKIM-Signature: v=1; of=another\r\n";
  std::string message = SignMessage(other + kMessage, how);
  EXPECT_TRUE(Verdicts(message, ZoneOf(how), kNow).starts_with("pass"));
  message.erase(message.find(other), other.size());
  EXPECT_NE(Verdicts(message, ZoneOf(how), kNow).find("different"), std::string::npos);
}

TEST(Verifier, JudgesTime) {
  Signing how;
  how.profile.expires_after = 24h;
  const std::string message = SignMessage(kMessage, how);
  EXPECT_EQ(Verdicts(message, ZoneOf(how), kNow), "pass");
  EXPECT_EQ(Verdicts(message, ZoneOf(how), kNow + 24h), "pass");
  EXPECT_EQ(Verdicts(message, ZoneOf(how), kNow + 24h + 1s), "permerror: the signature has expired (x=)");
  EXPECT_EQ(Verdicts(message, ZoneOf(how), kNow - 300s), "pass");
  EXPECT_EQ(Verdicts(message, ZoneOf(how), kNow - 301s), "permerror: the signature is from the future (t=)");
}

TEST(Verifier, JudgesBodyLength) {
  Signing how;
  how.profile.body_length = true;
  const std::string message = SignMessage(kMessage, how);
  EXPECT_EQ(Verdicts(message, ZoneOf(how)), "pass");
  EXPECT_EQ(Verdicts(message + "PS\r\n", ZoneOf(how)), "pass");
  EXPECT_EQ(Verdicts(message.substr(0, message.size() - 5), ZoneOf(how)), "permerror: l= is larger than the body");
}

TEST(Verifier, JudgesIdentity) {
  Signing how;
  how.profile.auid = "joe@sub.example.com";
  const std::string record = KeyRecordValue(Ed25519().Public());
  Zone strict, loose;
  loose.Add(kName, record);
  strict.Add(kName, Replaced(record, "v=DKIM1;", "v=DKIM1; t=s;"));
  EXPECT_EQ(Verdicts(SignMessage(kMessage, how), loose), "pass");
  EXPECT_EQ(Verdicts(SignMessage(kMessage, how), strict),
            "permerror: the key is not for subdomains (t=s), and i= is below d=");
  how.profile.auid = "joe@example.com";
  EXPECT_EQ(Verdicts(SignMessage(kMessage, how), strict), "pass");
}

TEST(Verifier, AcceptsRsaFrom1024Bits) {
  const TestKey short_key = TestKey::Rsa(1024);
  const Signing how{.key = &short_key};
  EXPECT_EQ(Verdicts(SignMessage(kMessage, how), ZoneOf(how)), "pass");
}

TEST(Verifier, RefusesShorterRsa) {
  const TestKey weak = TestKey::Rsa(768);
  const auto prepared = Prepare(kMessage, {.key = &weak});
  Zone zone;
  zone.Add(kName, "v=DKIM1; p=" + Base64Encode(weak.Spki()));
  EXPECT_EQ(Verdicts(AssembleField(*prepared, weak.Sign(prepared->digest)) + kMessage, zone),
            "permerror: key record: an RSA key of 768 bits is too short (RFC 8301)");
}

TEST(Verifier, JudgesEachSignatureByItself) {
  const Signing rsa{.key = &Rsa2048(), .selector = "rsa"};
  const std::string good = MakeField(kMessage), other = MakeField(kMessage, rsa);
  Zone zone = ZoneOf({});
  zone.Add("rsa._domainkey.example.com", KeyRecordValue(Rsa2048().Public()));
  EXPECT_EQ(Verdicts(other + good + kMessage, zone), "pass\npass");
  EXPECT_EQ(Verdicts(Replaced(other, "bh=", "bh=AAAA") + good + kMessage, zone),
            "permerror: bh= is not the base64 of 32 octets\npass");
  EXPECT_EQ(Verdicts("DKIM-Signature: junk\r\n" + good + kMessage, zone),
            "permerror: the tag list has an element without \"=\"\npass");
  EXPECT_EQ(Verdicts(good + "DKIM-Signature:\r\n" + other + kMessage, zone), "pass\npermerror: v= is missing\npass");
}

TEST(Verifier, LooksAtTwentySignatures) {
  std::string fields;
  for (int i = 0; i < 30; ++i) fields += MakeField(kMessage);
  EXPECT_EQ(VerifyMessage(fields + kMessage, ZoneOf({}).Lookup(), kNow)->size(), 20u);
}

TEST(Verifier, AcceptsOtherLineEnds) {
  std::string message = SignMessage(kMessage);
  std::erase(message, '\r');
  EXPECT_EQ(Verdicts(message, ZoneOf({})), "pass");
}

TEST(Verifier, NeedsAHeader) {
  EXPECT_FALSE(VerifyMessage("no colon\r\n\r\n", ZoneOf({}).Lookup(), kNow));
  EXPECT_EQ(Verdicts("", ZoneOf({})), "no signature");
  EXPECT_EQ(Verdicts("\r\n", ZoneOf({})), "no signature");
}

}  // namespace
}  // namespace dkim_test
