#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/ascii.h"
#include "signerd/dkim/canonical.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using testing::HasSubstr;

constexpr std::string_view kMessage =
    "From: Joe <joe@example.com>\r\nTo: ann@example.net\r\nSubject: =?utf-8?q?x?=  y\r\n z;=|\r\n\r\nHello.\r\n";

std::vector<std::string> Lines(std::string_view field) {
  std::vector<std::string> lines;
  while (!field.empty()) {
    const std::size_t end = field.find("\r\n");
    lines.emplace_back(field.substr(0, end));
    field.remove_prefix(end == std::string_view::npos ? field.size() : end + 2);
  }
  return lines;
}

// What must hold of every field that is made. `long_piece` is the length of the longest piece that cannot be folded.
void CheckLayout(const std::string& field, std::size_t long_piece = 0) {
  ASSERT_TRUE(field.starts_with("DKIM-Signature: v=1; a="));
  ASSERT_TRUE(field.ends_with("\r\n"));
  ASSERT_EQ(field.find("\r\n\r\n"), std::string::npos) << field;
  const std::vector<std::string> lines = Lines(field);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    ASSERT_LE(line.size(), std::max<std::size_t>(78, 1 + long_piece)) << field;
    ASSERT_TRUE(i == 0 || (line.size() > 1 && line[0] == ' ' && line[1] != ' ')) << field;
    ASSERT_FALSE(line.ends_with(' ')) << field;
    ASSERT_NE(line, " ;") << field;
    for (const char c : line) ASSERT_TRUE(c >= ' ' && c < '\x7f') << field;
  }
  // b= is last, begins at once, and nothing but its own octets follow.
  const std::size_t b = field.rfind("\r\n b=");
  ASSERT_NE(b, std::string::npos) << field;
  ASSERT_EQ(field.find(';', b), std::string::npos) << field;
  ASSERT_TRUE(IsAlpha(field[b + 5]) || IsDigit(field[b + 5]) || field[b + 5] == '+' || field[b + 5] == '/') << field;
}

TEST(SignatureField, LooksLikeThis) {
  Signing how;
  how.profile.signed_fields = {"From", "To", "Subject"};
  how.profile.oversigned_fields = {"From"};
  const auto prepared = Prepare(kMessage, how);
  ASSERT_TRUE(prepared);
  EXPECT_EQ(AssembleField(*prepared, Bytes(64, 0xff)),
            "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com;\r\n"
            " s=sel; t=1700000000; h=from:from:to:subject;\r\n"
            " bh=yZQq1c8wjBl0fZ4Wc/oraMCAG1mZJv5v/hlvyFy+t6A=;\r\n"
            " b=////////////////////////////////////////////////////////////////////////\r\n"
            " /////////////w==\r\n");
}

TEST(SignatureField, HashesTheVeryOctetsThatAreEmitted) {
  for (const auto canonicalization : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
    Signing how;
    how.profile.header = canonicalization;
    how.profile.signed_fields = {"Subject"};
    how.profile.oversigned_fields = {};
    const auto prepared = Prepare(kMessage, how);
    ASSERT_TRUE(prepared);
    std::string expected = CanonicalField(canonicalization, "From: Joe <joe@example.com>\r\n") +
                           CanonicalField(canonicalization, "Subject: =?utf-8?q?x?=  y\r\n z;=|\r\n") +
                           CanonicalField(canonicalization, prepared->field + "\r\n");
    expected.resize(expected.size() - 2);
    EXPECT_EQ(prepared->signed_data, expected);
    EXPECT_EQ(prepared->digest, Sha256Of(expected));
    EXPECT_TRUE(AssembleField(*prepared, Bytes(256, 1)).starts_with(prepared->field));
  }
}

TEST(SignatureField, OversignedAbsentFieldsAddNothingToTheHash) {
  Signing how;
  how.profile.header = Canonicalization::kSimple;
  how.profile.signed_fields = {"From"};
  how.profile.oversigned_fields = {"Cc", "Reply-To"};
  const auto prepared = Prepare(kMessage, how);
  ASSERT_TRUE(prepared);
  EXPECT_TRUE(prepared->signed_data.starts_with("From: Joe <joe@example.com>\r\nDKIM-Signature: "));
}

struct TagCase {
  const char* name;
  std::function<void(SigningProfile&)> change;
  const char* tag;
  const char* value;
};

const TagCase kTags[] = {
    {"SimpleSimple", [](auto& p) { p.header = p.body = Canonicalization::kSimple; }, "c", "simple/simple"},
    {"SimpleRelaxed", [](auto& p) { p.header = Canonicalization::kSimple; }, "c", "simple/relaxed"},
    {"RelaxedSimple", [](auto& p) { p.body = Canonicalization::kSimple; }, "c", "relaxed/simple"},
    {"RelaxedRelaxed", [](auto&) {}, "c", "relaxed/relaxed"},
    {"Time", [](auto&) {}, "t", "1700000000"},
    {"NoTime", [](auto& p) { p.timestamp = false; }, "t", "(none)"},
    {"Expiry", [](auto& p) { p.expires_after = std::chrono::hours(24 * 14); }, "x", "1701209600"},
    {"NoExpiry", [](auto&) {}, "x", "(none)"},
    {"Query", [](auto& p) { p.query_method = true; }, "q", "dns/txt"},
    {"NoQuery", [](auto&) {}, "q", "(none)"},
    {"Length", [](auto& p) { p.body_length = true; }, "l", "8"},
    {"NoLength", [](auto&) {}, "l", "(none)"},
    {"NoCopies", [](auto&) {}, "z", "(none)"},
    {"NoAuid", [](auto&) {}, "i", "(none)"},
    {"AuidOfTheDomain", [](auto& p) { p.auid = "@example.com"; }, "i", "@example.com"},
    {"AuidBelowTheDomain", [](auto& p) { p.auid = "joe@mail.Example.COM"; }, "i", "joe@mail.example.com"},
    {"AuidWithOddLocalPart", [](auto& p) { p.auid = "a;b=c d@example.com"; }, "i", "a=3Bb=3Dc=20d@example.com"},
    {"AuidWithQuotedAt", [](auto& p) { p.auid = "\"a@b\"@example.com"; }, "i", "\"a@b\"@example.com"},
    {"AuidInUtf8", [](auto& p) { p.auid = "j\xc3\xb6rg@example.com"; }, "i", "j=C3=B6rg@example.com"},
};

class Tag : public testing::TestWithParam<TagCase> {};

TEST_P(Tag, IsWritten) {
  Signing how;
  GetParam().change(how.profile);
  ASSERT_TRUE(ValidateProfile(how.profile));
  const std::string field = MakeField(kMessage, how);
  EXPECT_EQ(TagOf(field, GetParam().tag), GetParam().value);
  CheckLayout(field);
  EXPECT_EQ(Verdicts(field + std::string(kMessage), ZoneOf(how)), "pass");
}

INSTANTIATE_TEST_SUITE_P(Field, Tag, testing::ValuesIn(kTags),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(CopiedFields, AreQuotedPrintable) {
  Signing how;
  how.profile.copied_fields = true;
  how.profile.signed_fields = {"Subject", "To"};
  how.profile.oversigned_fields = {"From", "Cc"};
  EXPECT_EQ(
      TagOf(MakeField(kMessage, how), "z"),
      "From:=20Joe=20<joe@example.com>|Subject:=20=3D?utf-8?q?x?=3D=20=20y=0D=0A=20z=3B=3D=7C|To:=20ann@example.net");
}

TEST(CopiedFields, FoldNowhereInAName) {
  Signing how;
  how.profile.copied_fields = true;
  for (std::size_t size = 0; size < 200; ++size) {
    const std::string message = "From: a@example.com\r\nList-Unsubscribe-Post:" + std::string(size, 'x') +
                                "\r\nList-Unsubscribe-Post:;\r\nX: y\r\n\r\n";
    const std::string field = MakeField(message, how);
    CheckLayout(field);
    std::size_t names = 0;
    for (std::size_t at = 0; (at = field.find("List-Unsubscribe-Post:", at)) != std::string::npos; ++at) ++names;
    EXPECT_EQ(names, 2u) << field;
    EXPECT_EQ(Verdicts(field + message, ZoneOf(how)), "pass");
  }
}

TEST(CopiedFields, LeaveOutWhatIsTooLarge) {
  Signing how;
  how.profile.copied_fields = true;
  const std::string message =
      "From: a@example.com\r\nReferences: " + std::string(100'000, 'x') + "\r\nTo: b@example.com\r\n\r\n";
  const std::string field = MakeField(message, how);
  EXPECT_THAT(TagOf(field, "z"), HasSubstr("|To:=20b@example.com"));
  EXPECT_LT(field.size(), 2000u);
}

TEST(Auid, MustBeWithinTheDomain) {
  for (const char* auid : {"@fexample.com", "@com", "joe@example.net", "@example.com.net", "@xexample.com"}) {
    Signing how;
    how.profile.auid = auid;
    const auto prepared = Prepare(kMessage, how);
    ASSERT_FALSE(prepared) << auid;
    EXPECT_EQ(prepared.error().reason, Reason::kInvalidArgument);
    EXPECT_THAT(prepared.error().message, HasSubstr(auid));
  }
}

// Whoever calls has normalized them; a field must not come out wrong where that was forgotten.
TEST(Identity, IsCheckedOnceMore) {
  for (const char* domain : {"", "Example.com", "example.com;", "example.com; s=x",
                             "b\xc3\xbc"
                             "cher.example",
                             "a\r\nX: y", "a b"}) {
    Signing how;
    how.domain = domain;
    EXPECT_FALSE(Prepare(kMessage, how)) << domain;
  }
  for (const char* selector : {"", "Sel", "sel;", "sel; d=x", "a\r\nX: y", "a b"}) {
    Signing how;
    how.selector = selector;
    EXPECT_FALSE(Prepare(kMessage, how)) << selector;
  }
}

// A name of `size` octets in labels.
std::string Labels(std::size_t size) {
  std::string name(size, 'a');
  for (std::size_t dot = 50; dot + 1 < size; dot += 51) name[dot] = '.';
  return name;
}

TEST(Layout, HoldsForDomainsAndSelectorsOfAnyLength) {
  for (std::size_t size = 1; size <= 200; ++size) {
    for (const bool simple : {false, true}) {
      Signing how;
      if (simple) how.profile.header = Canonicalization::kSimple;
      how.domain = Labels(size);
      std::string field = MakeField(kMessage, how);
      CheckLayout(field, size + 3);
      ASSERT_EQ(Verdicts(field + std::string(kMessage), ZoneOf(how)), "pass") << field;
      how.domain = "example.com";
      how.selector = Labels(size);
      field = MakeField(kMessage, how);
      CheckLayout(field, size + 3);
      ASSERT_EQ(Verdicts(field + std::string(kMessage), ZoneOf(how)), "pass") << field;
    }
  }
}

TEST(Layout, FoldsHOnlyAfterAColon) {
  for (std::size_t size = 1; size <= 76; ++size) {
    for (const std::size_t count : {1u, 2u, 7u, 40u}) {
      Signing how;
      how.profile.signed_fields = {};
      how.profile.oversigned_fields = {};
      for (std::size_t i = 0; i < count; ++i) {
        std::string name(size, 'x');
        if (size > 4) name.replace(0, 4, "a-" + std::to_string(10 + i));
        how.profile.oversigned_fields.push_back(name);
      }
      ASSERT_TRUE(ValidateProfile(how.profile));
      const std::string field = MakeField(kMessage, how);
      CheckLayout(field);
      const std::size_t h = field.find(" h=") + 3;
      const std::string names = field.substr(h, field.find(';', h) - h);
      for (std::size_t fold = 0; (fold = names.find("\r\n", fold)) != std::string::npos; ++fold) {
        ASSERT_EQ(names[fold - 1], ':') << field;
      }
      ASSERT_EQ(Verdicts(field + std::string(kMessage), ZoneOf(how)), "pass") << field;
    }
  }
}

TEST(Layout, HoldsForSignaturesOfAnyLength) {
  const auto prepared = Prepare(kMessage);
  ASSERT_TRUE(prepared);
  for (std::size_t octets = 1; octets <= 1100; ++octets) {
    const std::string field = AssembleField(*prepared, Bytes(octets, 0x5a));
    CheckLayout(field);
    ASSERT_EQ(TagOf(field, "b"), Base64Encode(Bytes(octets, 0x5a)));
  }
}

TEST(Signatures, OfOneMessageDoNotTouchEachOther) {
  Signing rsa{.key = &Rsa2048(), .selector = "rsa"}, ed25519{.selector = "ed"};
  rsa.profile.header = ed25519.profile.header = Canonicalization::kSimple;
  const std::string first = MakeField(kMessage, rsa), second = MakeField(kMessage, ed25519);
  Zone zone = ZoneOf(rsa);
  zone.Add("ed._domainkey.example.com", ZoneOf(ed25519).Lookup()("ed._domainkey.example.com").value().front());
  EXPECT_EQ(Verdicts(first + second + std::string(kMessage), zone), "pass\npass");
  EXPECT_EQ(Verdicts(second + first + std::string(kMessage), zone), "pass\npass");
}

TEST(Preparing, IsPure) {
  const auto one = Prepare(kMessage), two = Prepare(kMessage);
  EXPECT_EQ(one->field, two->field);
  EXPECT_EQ(one->digest, two->digest);
}

TEST(Preparing, NeedsAFrom) {
  const auto prepared = Prepare("To: ann@example.net\r\n\r\n");
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().reason, Reason::kFromMissing);
}

}  // namespace
}  // namespace dkim_test
