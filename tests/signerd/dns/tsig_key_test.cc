#include "signerd/dns/tsig_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace hallmark::dns {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kSecret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct GoodCase {
  const char* title;
  std::string content, name, algorithm;
};
const GoodCase kGood[] = {
    {"SecretAlone", kSecret, "Writer.Example.", "HMAC-SHA256"},
    {"SecretAndLineEnd", "\n " + kSecret + " \r\n\n", "writer.example", "hmac-sha256"},
    {"KeyClause", "key \"writer.example\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + kSecret + "\";\n};\n", "", ""},
    {"KeyClauseOnOneLine", "key writer.example. { secret " + kSecret + "; algorithm \"hmac-sha256\"; };", "", ""},
    {"KeyClauseThatIsSaidAgain", "key writer.example{algorithm hmac-sha256;secret \"" + kSecret + "\";};",
     "writer.example", "hmac-sha256"},
    {"KeyClauseWithComments", "key x { # mine\n algorithm hmac-sha256; // really\n secret \"" + kSecret + "\"; };", "",
     ""},
    {"AsKeymgrPrintsIt",
     "# hmac-sha256:writer.example:" + kSecret + "\nkey:\n  - id: writer.example\n    algorithm: hmac-sha256\n", "",
     ""},
    {"InOneLine", "hmac-sha256:writer.example:" + kSecret, "", ""},
};
class GoodKey : public testing::TestWithParam<GoodCase> {};
TEST_P(GoodKey, IsRead) {
  const auto key = ParseTsigKey(GetParam().content, GetParam().name, GetParam().algorithm);
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->name, GetParam().content.starts_with("key x") ? "x" : "writer.example");
  EXPECT_EQ(key->algorithm, "hmac-sha256");
  EXPECT_EQ(key->secret.view(), kSecret);
}
INSTANTIATE_TEST_SUITE_P(Forms, GoodKey, testing::ValuesIn(kGood),
                         [](const auto& row) { return std::string(row.param.title); });

struct BadCase {
  const char* title;
  std::string content, name, algorithm;
  const char* says;
};
const BadCase kBad[] = {
    {"Empty", "", "k", "hmac-sha256", "only 0 octets"},
    {"NoBase64", "not base64!", "k", "hmac-sha256", "no base64"},
    {"TooShort", "AAECAwQFBgc=", "k", "hmac-sha256", "only 8 octets"},
    {"TwoLines", kSecret + "\n" + kSecret, "k", "hmac-sha256", "more than one line"},
    {"NoName", kSecret, "", "hmac-sha256", "no name"},
    {"NoAlgorithm", kSecret, "k", "", "no algorithm"},
    {"WeakAlgorithm", kSecret, "k", "hmac-md5", "hmac-md5"},
    {"OtherName", "hmac-sha256:k:" + kSecret, "other", "", "\"other\" is configured"},
    {"OtherAlgorithm", "hmac-sha256:k:" + kSecret, "", "hmac-sha512", "\"hmac-sha512\" is configured"},
    {"NameWithBlank", kSecret, "a b", "hmac-sha256", "no domain name"},
    {"OneColon", "k:" + kSecret, "", "", "no TSIG key"},
    {"ClauseWithoutEnd", "key k { algorithm hmac-sha256; secret \"" + kSecret + "\"; }", "", "", "malformed"},
    {"ClauseWithoutSecret", "key k { algorithm hmac-sha256; algorithm hmac-sha256; };", "", "", "malformed"},
    {"ClauseWithOpenString", "key k { algorithm hmac-sha256; secret \"" + kSecret + "; };", "", "", "malformed"},
    {"ClauseWithMore", "key k { algorithm hmac-sha256; secret " + kSecret + "; server x; };", "", "", "malformed"},
    {"TwoClauses",
     "key k { algorithm hmac-sha256; secret " + kSecret + "; }; key l { algorithm hmac-sha256; secret " + kSecret +
         "; };",
     "", "", "malformed"},
};
class BadKey : public testing::TestWithParam<BadCase> {};
TEST_P(BadKey, IsRefusedWithoutBeingTold) {
  const auto key = ParseTsigKey(GetParam().content, GetParam().name, GetParam().algorithm);
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().reason, Reason::kConfigInvalid);
  EXPECT_THAT(key.error().message, HasSubstr(GetParam().says));
  EXPECT_THAT(key.error().message, Not(HasSubstr(kSecret.substr(0, 12))));
}
INSTANTIATE_TEST_SUITE_P(Forms, BadKey, testing::ValuesIn(kBad),
                         [](const auto& row) { return std::string(row.param.title); });

TEST(TsigKey, FileThatOthersCanReadIsRefused) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "hallmark-tsig.key";
  std::ofstream(path) << kSecret << "\n";
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  const auto open = ReadTsigKey(path, "k", "hmac-sha256");
  ASSERT_FALSE(open);
  EXPECT_EQ(open.error().reason, Reason::kConfigInvalid);
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  EXPECT_TRUE(ReadTsigKey(path, "k", "hmac-sha256"));
  const auto unnamed = ReadTsigKey(path, "", "hmac-sha256");
  EXPECT_THAT(unnamed.error().message, HasSubstr(path.string()));
  std::filesystem::remove(path);
  EXPECT_EQ(ReadTsigKey(path, "k", "hmac-sha256").error().reason, Reason::kNotFound);
}

}  // namespace
}  // namespace hallmark::dns
