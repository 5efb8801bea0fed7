#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "signerd/dkim/warnings.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark::dkim;
using testing::HasSubstr;

std::vector<Warning> WarningsOf(std::string_view message, const SigningProfile& profile = DefaultProfile()) {
  HeaderReader reader;
  const auto taken = reader.Push(message);
  BodyHasher body(profile.body);
  body.Push(message.substr(*taken));
  body.Finish();
  return FindWarnings(*std::move(reader).Finish(), &body.facts(), profile);
}

struct WarningCase {
  const char* name;
  std::string message;
  WarningCode code;
  const char* says;
};

const WarningCase kWarnings[] = {
    {"LongField", "From: a@b\r\nReferences: " + std::string(987, 'x') + "\r\n\r\n", WarningCode::kLongLine,
     "the field References has a line of 999 octets"},
    {"LongFold", "From: a@b\r\nReferences: x\r\n " + std::string(998, 'x') + "\r\n y\r\n\r\n", WarningCode::kLongLine,
     "the field References has a line of 999 octets"},
    {"LongBodyLine", "From: a@b\r\n\r\n" + std::string(999, 'x') + "\r\n", WarningCode::kLongLine,
     "the body has a line of 999 octets"},
    {"BareLfInTheHeader", "From: a@b\nTo: c\r\n\r\n", WarningCode::kBareLf, "1 bare LF"},
    {"BareLfInBoth", "From: a@b\nTo: c\r\n\r\nx\ny\r\n", WarningCode::kBareLf, "2 bare LF"},
    {"BareCr", "From: a@b\r\n\r\nx\ry\r\r\n", WarningCode::kBareCr, "2 bare CR"},
    {"NoFinalLineEnd", "From: a@b\r\n\r\nx", WarningCode::kNoFinalCrlf, "does not end in CRLF"},
    {"TightList", "From: a@b\r\nCc: a@b,c@d\r\n\r\n", WarningCode::kTightAddressList, "the field Cc"},
    {"TightListInOddCase", "From: a@b\r\ntO: a@b,c@d\r\n\r\n", WarningCode::kTightAddressList, "the field tO"},
};

class OneWarning : public testing::TestWithParam<WarningCase> {};

TEST_P(OneWarning, IsGiven) {
  const auto warnings = WarningsOf(GetParam().message);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].code, GetParam().code);
  EXPECT_THAT(warnings[0].message, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(Of, OneWarning, testing::ValuesIn(kWarnings),
                         [](const auto& row) { return std::string(row.param.name); });

const std::pair<const char*, std::string> kQuiet[] = {
    {"Plain", "From: a@b\r\nCc: a@b, c@d\r\n\r\nx\r\n"},
    {"NoBody", "From: a@b\r\n"},
    {"FieldOf998", "From: a@b\r\nReferences: " + std::string(986, 'x') + "\r\n\r\n"},
    {"LongFieldInShortLines",
     "From: a@b\r\nReferences: x\r\n " + std::string(990, 'x') + "\r\n " + std::string(990, 'x') + "\r\n\r\n"},
    {"BodyLineOf998", "From: a@b\r\n\r\n" + std::string(998, 'x') + "\r\n"},
    {"CommaInQuotes", "From: a@b\r\nTo: \"a,b\" <c@d>\r\n\r\n"},
    {"CommaInARoute", "From: a@b\r\nTo: <@a,@b:c@d>\r\n\r\n"},
    {"CommaBeforeAFold", "From: a@b\r\nTo: a@b,\r\n c@d\r\n\r\n"},
    {"CommaInAnotherField", "From: a@b\r\nSubject: a,b\r\n\r\n"},
};

TEST(Warnings, AreNotGivenForNothing) {
  for (const auto& [name, message] : kQuiet)
    EXPECT_TRUE(WarningsOf(message).empty()) << name << ": " << WarningsOf(message)[0].message;
}

TEST(Warnings, SayWhyNotBodyLength) {
  SigningProfile profile = DefaultProfile();
  profile.body_length = true;
  const auto warnings = WarningsOf("From: a@b\r\n\r\n", profile);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].code, WarningCode::kBodyLengthTag);
  EXPECT_THAT(warnings[0].message, HasSubstr("anyone can append"));
}

TEST(Warnings, SayThatMailWaitsLongerThanItsSignatureLives) {
  SigningProfile profile = DefaultProfile();
  profile.expires_after = std::chrono::hours(1);
  const auto warnings = WarningsOf("From: a@b\r\n\r\n", profile);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].code, WarningCode::kEarlyExpiry);
  EXPECT_THAT(warnings[0].message, HasSubstr("after 3600 s"));
  profile.expires_after = std::chrono::hours(48);
  EXPECT_TRUE(WarningsOf("From: a@b\r\n\r\n", profile).empty());
}

TEST(Warnings, AreFew) {
  std::string message = "From: a@b\r\n";
  for (int i = 0; i < 5000; ++i) message += "Cc: a@b,c@d\r\n";
  message += std::string(500'000, 'X') + ": " + std::string(1000, 'x') + "\r\n\r\n";
  const auto warnings = WarningsOf(message);
  EXPECT_EQ(warnings.size(), 11u);
  for (const Warning& warning : warnings) EXPECT_LT(warning.message.size(), 400u);
}

TEST(Warnings, NeedNoBody) {
  const auto header = Header::Parse("From: a@b\nTo: a,b\n");
  EXPECT_EQ(FindWarnings(*header, nullptr, DefaultProfile()).size(), 2u);
}

}  // namespace
}  // namespace dkim_test
