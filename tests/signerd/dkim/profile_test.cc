#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/key_record.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using testing::HasSubstr;
using testing::StartsWith;

bool Has(const std::vector<std::string>& list, std::string_view name) {
  return std::any_of(list.begin(), list.end(),
                     [=](const std::string& entry) { return EqualsIgnoringCase(entry, name); });
}

TEST(DefaultProfile, IsValid) { EXPECT_TRUE(ValidateProfile(DefaultProfile())); }

TEST(DefaultProfile, SignsWhatAMessageMeans) {
  for (const char* name : {"From",
                           "Reply-To",
                           "Subject",
                           "Date",
                           "Message-ID",
                           "To",
                           "Cc",
                           "In-Reply-To",
                           "References",
                           "MIME-Version",
                           "Content-Type",
                           "Content-Transfer-Encoding",
                           "Content-ID",
                           "Content-Description",
                           "Sender",
                           "Resent-From",
                           "Resent-To",
                           "List-Id",
                           "List-Post",
                           "List-Unsubscribe",
                           "List-Unsubscribe-Post"}) {
    EXPECT_TRUE(Has(DefaultProfile().signed_fields, name)) << name;
  }
}

TEST(DefaultProfile, NeverSignsTrace) {
  for (const char* name :
       {"Return-Path", "Received", "Comments", "Keywords", "Bcc", "Resent-Bcc", "Authentication-Results",
        "DKIM-Signature", "ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"}) {
    EXPECT_TRUE(Has(DefaultProfile().excluded_fields, name)) << name;
    EXPECT_FALSE(Has(DefaultProfile().signed_fields, name)) << name;
    EXPECT_FALSE(Has(DefaultProfile().oversigned_fields, name)) << name;
  }
}

TEST(DefaultProfile, OversignsWhatMustOccurOnceAndNothingThatListsAdd) {
  const auto oversigned = DefaultProfile().oversigned_fields;
  for (const char* name :
       {"From", "Subject", "Date", "To", "Cc", "Reply-To", "Message-ID", "MIME-Version", "Content-Type"}) {
    EXPECT_TRUE(Has(oversigned, name)) << name;
  }
  for (const std::string& name : oversigned) {
    EXPECT_FALSE(ToLower(name).starts_with("list-") || ToLower(name).starts_with("resent-")) << name;
    EXPECT_FALSE(EqualsIgnoringCase(name, "sender"));
  }
}

// What the default profile makes of a message from a list, end to end.
TEST(DefaultProfile, GivesThisH) {
  const std::string message =
      "Return-Path: <joe@example.com>\r\nReceived: by mx\r\nDKIM-Signature: v=1\r\nFrom: joe@example.com\r\nSubject: "
      "x\r\n"
      "List-Unsubscribe: <https://example.com/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nX-Y: "
      "z\r\n\r\n";
  EXPECT_EQ(TagOf(MakeField(message), "h"),
            "from:from:reply-to:subject:subject:to:cc:mime-version:content-type:content-transfer-encoding:"
            "in-reply-to:references:list-unsubscribe:list-unsubscribe-post");
}

// As Sendmail does after its milters have seen the message.
TEST(DefaultProfile, LetsDateAndMessageIdBeAddedWhereThereIsNone) {
  const std::string without = "From: joe@example.com\r\nSubject: x\r\n\r\nHello\r\n";
  const std::string added = "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n";
  const std::string field = MakeField(without);
  EXPECT_EQ(Verdicts(field + added + without, ZoneOf({})), "pass");
  EXPECT_NE(Verdicts(field + "Cc: all@example.com\r\n" + without, ZoneOf({})), "pass");
  const std::string with = added + without, twice = MakeField(with);
  EXPECT_EQ(Verdicts(twice + with, ZoneOf({})), "pass");
  EXPECT_NE(Verdicts(twice + "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n" + with, ZoneOf({})), "pass");
}

struct BadProfile {
  const char* name;
  std::function<void(SigningProfile&)> spoil;
  const char* names;  // what the sentence must say
};

const BadProfile kBad[] = {
    {"OversignsSignatures",
     [](auto& p) {
       p.excluded_fields.clear();
       p.oversigned_fields.emplace_back("dkim-Signature");
     },
     "oversigned_fields"},
    {"ExcludesFrom", [](auto& p) { p.excluded_fields.emplace_back("from"); }, "excluded_fields"},
    {"EmptyName", [](auto& p) { p.signed_fields.emplace_back(""); }, "signed_fields"},
    {"NameWithColon", [](auto& p) { p.signed_fields.emplace_back("To:"); }, "signed_fields"},
    {"NameWithSpace", [](auto& p) { p.oversigned_fields.emplace_back("Sub ject"); }, "oversigned_fields"},
    {"NameWithSemicolon", [](auto& p) { p.oversigned_fields.emplace_back("To;d=x"); }, "oversigned_fields"},
    {"NameWithLineEnd", [](auto& p) { p.excluded_fields.emplace_back("To\r\nX"); }, "excluded_fields"},
    {"NameInUtf8", [](auto& p) { p.signed_fields.emplace_back("B\xc3\xa4r"); }, "signed_fields"},
    {"NameTooLong", [](auto& p) { p.signed_fields.emplace_back(77, 'x'); }, "signed_fields"},
    {"TooManyNames", [](auto& p) { p.signed_fields.assign(201, "To"); }, "signed_fields"},
    {"AuidWithoutAt", [](auto& p) { p.auid = "example.com"; }, "auid"},
    {"AuidWithoutDomain", [](auto& p) { p.auid = "joe@"; }, "auid"},
    {"AuidWithTag", [](auto& p) { p.auid = "joe@example.com;d=x"; }, "auid"},
    {"AuidWithLineEnd", [](auto& p) { p.auid = "jo\r\nX: e@example.com"; }, "auid"},
    {"AuidTooLong", [](auto& p) { p.auid = std::string(310, 'x') + "@example.com"; }, "auid"},
    {"ExpiresTooSoon", [](auto& p) { p.expires_after = std::chrono::seconds(3599); }, "expires_after"},
    {"ExpiresAtOnce", [](auto& p) { p.expires_after = std::chrono::seconds(0); }, "expires_after"},
    {"ExpiresBefore", [](auto& p) { p.expires_after = std::chrono::seconds(-1); }, "expires_after"},
    {"ExpiresNever", [](auto& p) { p.expires_after = std::chrono::seconds::max(); }, "expires_after"},
};

class Bad : public testing::TestWithParam<BadProfile> {};

TEST_P(Bad, IsRefusedByMember) {
  SigningProfile profile = DefaultProfile();
  GetParam().spoil(profile);
  const Status valid = ValidateProfile(profile);
  ASSERT_FALSE(valid);
  EXPECT_EQ(valid.error().reason, Reason::kInvalidArgument);
  EXPECT_THAT(valid.error().message, HasSubstr(GetParam().names));
}

INSTANTIATE_TEST_SUITE_P(Profile, Bad, testing::ValuesIn(kBad),
                         [](const auto& row) { return std::string(row.param.name); });

// Excluded fields win, so that this says that nothing is oversigned.
TEST(Profile, MayOversignSignaturesThatItExcludes) {
  SigningProfile profile = DefaultProfile();
  profile.oversigned_fields = {"DKIM-Signature"};
  EXPECT_TRUE(ValidateProfile(profile));
}

// As a profile that is stored may say: it names no field that the domain's other signature is.
TEST(Profile, ThatOversignsSignaturesLeavesRoomForASecondOne) {
  Signing rsa{.key = &Rsa2048(), .selector = "r"}, ed25519{.key = &Ed25519(), .selector = "e"};
  rsa.profile.excluded_fields.clear();
  rsa.profile.oversigned_fields.emplace_back("DKIM-Signature");
  ed25519.profile = rsa.profile;
  const std::string message = "DKIM-Signature: v=1; b=\r\nFrom: joe@example.com\r\n\r\nHello\r\n";
  const std::string both = MakeField(message, rsa) + MakeField(message, ed25519);
  Zone zone;
  for (const Signing* how : {&rsa, &ed25519}) {
    zone.Add(how->selector + "._domainkey.example.com", KeyRecordValue(how->key->Public()));
  }
  EXPECT_THAT(Verdicts(both + message, zone), StartsWith("pass\npass\n"));
}

TEST(Profile, MayListNothing) {
  SigningProfile profile;
  EXPECT_TRUE(ValidateProfile(profile));
  EXPECT_EQ(TagOf(MakeField("From: joe@example.com\r\n\r\n", {.profile = profile}), "h"), "from");
}

}  // namespace
}  // namespace dkim_test
