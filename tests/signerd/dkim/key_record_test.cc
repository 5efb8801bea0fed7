#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/key_record.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using testing::HasSubstr;

// A record in short; "p" stands for "three octets".
std::string Describe(std::string_view text) {
  const auto record = ParseKeyRecord(text);
  if (!record) return record.error().message;
  std::string description(record->algorithm == Algorithm::kRsaSha256 ? "rsa" : "ed25519");
  description += record->public_data == Bytes{1, 2, 3} ? " p" : " " + HexEncode(record->public_data);
  if (record->revoked) description += "revoked";
  if (record->testing) description += " testing";
  if (record->strict_identity) description += " strict";
  return description;
}

struct RecordCase {
  const char* name;
  const char* text;
  const char* description;
};

constexpr RecordCase kRecords[] = {
    {"Rsa", "v=DKIM1; k=rsa; p=AQID", "rsa p"},
    {"Ed25519", "v=DKIM1; k=ed25519; p=AQID", "ed25519 p"},
    {"OnlyP", "p=AQID", "rsa p"},
    {"NoAlgorithmMeansRsa", "v=DKIM1; p=AQID", "rsa p"},
    {"FinalSemicolon", "v=DKIM1; p=AQID;", "rsa p"},
    {"NoSpaces", "v=DKIM1;k=rsa;p=AQID", "rsa p"},
    {"ManySpaces", " \tv = DKIM1 ;\t k =  rsa ; p = AQ \t ID ; ", "rsa p"},
    {"SpaceWithinP", "v=DKIM1; p=A Q\tI D", "rsa p"},
    {"FoldWithinP", "v=DKIM1; p=AQ\r\n ID", "rsa p"},
    {"UnknownTags", "v=DKIM1; n=a note; g=*; xy_1=z; p=AQID", "rsa p"},
    {"EmptyNote", "v=DKIM1; n=; p=AQID", "rsa p"},
    {"Testing", "v=DKIM1; t=y; p=AQID", "rsa p testing"},
    {"Strict", "v=DKIM1; t=s; p=AQID", "rsa p strict"},
    {"TestingAndStrict", "v=DKIM1; t=y : s; p=AQID", "rsa p testing strict"},
    {"UnknownFlags", "v=DKIM1; t=q:z; p=AQID", "rsa p"},
    {"NoFlagIsAny", "v=DKIM1; t=*; p=AQID", "rsa p"},
    {"ServiceEmail", "v=DKIM1; s=email; p=AQID", "rsa p"},
    {"ServiceAny", "v=DKIM1; s=*; p=AQID", "rsa p"},
    {"ServiceList", "v=DKIM1; s=tlsrpt:email; p=AQID", "rsa p"},
    {"HashSha256", "v=DKIM1; h=sha256; p=AQID", "rsa p"},
    {"HashList", "v=DKIM1; h=sha1:sha256; p=AQID", "rsa p"},
    {"AlgorithmInUpperCase", "v=DKIM1; k=RSA; p=AQID", "rsa p"},
    {"Revoked", "v=DKIM1; p=", "rsa revoked"},
    {"RevokedWithSpace", "v=DKIM1; p= ;", "rsa revoked"},
};

constexpr RecordCase kFaults[] = {
    {"NothingAtAll", "", "key record: p= is missing"},
    {"NoP", "v=DKIM1; k=rsa", "key record: p= is missing"},
    {"OtherVersion", "v=DKIM2; p=AQID", "key record: v= is not DKIM1"},
    {"VersionInLowerCase", "v=dkim1; p=AQID", "key record: v= is not DKIM1"},
    {"EmptyVersion", "v=; p=AQID", "key record: v= is not DKIM1"},
    {"VersionNotFirst", "p=AQID; v=DKIM1", "key record: v= is not the first tag"},
    {"UnknownAlgorithm", "v=DKIM1; k=dsa; p=AQID", "key record: k= is not an algorithm that is known"},
    {"EmptyAlgorithm", "v=DKIM1; k=; p=AQID", "key record: k= is not an algorithm that is known"},
    {"OnlySha1", "v=DKIM1; h=sha1; p=AQID", "key record: h= does not allow sha256"},
    {"NoHashIsAny", "v=DKIM1; h=*; p=AQID", "key record: h= does not allow sha256"},
    {"OtherService", "v=DKIM1; s=tlsrpt; p=AQID", "key record: s= does not allow email"},
    {"NotBase64", "v=DKIM1; p=AQI!", "key record: p= is not base64"},
    {"Base64CutOff", "v=DKIM1; p=AQI", "key record: p= is not base64"},
    {"EmptyElement", "v=DKIM1;; p=AQID", "key record: the tag list has an empty element"},
    {"TagTwice", "v=DKIM1; p=AQID; p=AQID", "key record: the tag list has p= twice"},
    {"NoEquals", "v=DKIM1; rsa; p=AQID", "key record: the tag list has an element without \"=\""},
    {"NoName", "v=DKIM1; =rsa; p=AQID", "key record: the tag list has an element without a valid name"},
    {"OtherText", "google-site-verification=abc", "key record: the tag list has an element without a valid name"},
    {"Spf", "v=spf1 -all", "key record: v= is not DKIM1"},
};

class Record : public testing::TestWithParam<RecordCase> {};
class Fault : public testing::TestWithParam<RecordCase> {};

TEST_P(Record, IsRead) { EXPECT_EQ(Describe(GetParam().text), GetParam().description); }

TEST_P(Fault, IsNamed) {
  EXPECT_EQ(Describe(GetParam().text), GetParam().description);
  EXPECT_EQ(ParseKeyRecord(GetParam().text).error().reason, Reason::kInvalidArgument);
}

const auto kName = [](const auto& row) { return std::string(row.param.name); };
INSTANTIATE_TEST_SUITE_P(Of, Record, testing::ValuesIn(kRecords), kName);
INSTANTIATE_TEST_SUITE_P(Of, Fault, testing::ValuesIn(kFaults), kName);

TEST(Fault, OfTooManyTags) {
  std::string text = "v=DKIM1";
  for (int i = 0; i < 200'000; ++i) text += "; a" + std::to_string(i) + "=b";
  EXPECT_THAT(Describe(text), HasSubstr("more than 100 tags"));
}

TEST(KeyRecordValue, IsReadBack) {
  for (const TestKey* key : {&Rsa2048(), &Ed25519()}) {
    const PublicKey publik = key->Public();
    const std::string value = KeyRecordValue(publik);
    EXPECT_TRUE(value.starts_with(key == &Rsa2048() ? "v=DKIM1; k=rsa; p=MII" : "v=DKIM1; k=ed25519; p="));
    const auto record = ParseKeyRecord(value);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->algorithm, publik.algorithm());
    EXPECT_EQ(PublicKey::FromRecordData(record->algorithm, record->public_data)->Spki(), key->Spki());
  }
}

// What a resolver makes of quoted strings: the octets, with nothing between the strings.
std::string Joined(std::string_view quoted, std::size_t* longest) {
  std::string text;
  std::size_t octets = 0;
  bool inside = false;
  for (std::size_t i = 0; i < quoted.size(); ++i) {
    if (quoted[i] == '"') {
      inside = !inside;
      octets = 0;
      continue;
    }
    if (!inside) {
      EXPECT_EQ(quoted[i], ' ');
      continue;
    }
    if (quoted[i] == '\\' && quoted[i + 1] >= '0' && quoted[i + 1] <= '9') {
      text += static_cast<char>(std::stoi(std::string(quoted.substr(i + 1, 3))));
      i += 3;
    } else {
      text += quoted[i] == '\\' ? quoted[++i] : quoted[i];
    }
    *longest = std::max(*longest, ++octets);
  }
  EXPECT_FALSE(inside);
  return text;
}

TEST(ZoneFileTxt, OfAnyLengthIsJoinedToTheSame) {
  std::string value;
  for (std::size_t size = 0; size < 1100; ++size) {
    std::size_t longest = 0;
    const std::string text = ZoneFileTxt(value);
    ASSERT_EQ(Joined(text, &longest), value);
    ASSERT_LE(longest, 255u);
    ASSERT_EQ(std::count(text.begin(), text.end(), '"'),
              size == 0 ? 2 : static_cast<std::ptrdiff_t>((size + 254) / 255 * 2));
    value += static_cast<char>('a' + size % 26);
  }
}

TEST(ZoneFileTxt, EscapesWhatMeansSomething) {
  EXPECT_EQ(ZoneFileTxt("a\"b\\c;d e"), "\"a\\\"b\\\\c;d e\"");
  EXPECT_EQ(ZoneFileTxt("\x01\xff"), "\"\\001\\255\"");
}

TEST(ZoneFileTxt, OfAKeyIsTheKey) {
  std::size_t longest = 0;
  const std::string value = KeyRecordValue(Rsa2048().Public());
  EXPECT_EQ(Joined(ZoneFileTxt(value), &longest), value);
  EXPECT_EQ(longest, 255u);
}

}  // namespace
}  // namespace dkim_test
