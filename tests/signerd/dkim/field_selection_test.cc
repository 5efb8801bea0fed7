#include <gtest/gtest.h>

#include "signerd/dkim/field_selection.h"
#include "signerd/dkim/limits.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;

SigningProfile Profile(std::vector<std::string> signed_fields, std::vector<std::string> oversigned,
                       std::vector<std::string> excluded = {}) {
  SigningProfile profile;
  profile.signed_fields = std::move(signed_fields);
  profile.oversigned_fields = std::move(oversigned);
  profile.excluded_fields = std::move(excluded);
  return profile;
}

// "h=" in lower case, a bar, and the values of the fields it stands for.
std::string Select(std::string_view block, const SigningProfile& profile) {
  const auto header = Header::Parse(block);
  if (!header) return header.error().message;
  const FieldRules rules(profile);
  const auto selection = SelectFields(*header, rules);
  if (!selection) return std::string(ReasonName(selection.error().reason));
  std::string text;
  for (const std::string_view name : selection->names) text += (text.empty() ? "" : ":") + std::string(name);
  text += " |";
  for (const Field* field : selection->fields) text += field->value.substr(0, field->value.size() - 2);
  return text;
}

struct SelectionCase {
  const char* name;
  const char* block;
  std::vector<std::string> listed, oversigned, excluded;
  const char* expected;
};

const SelectionCase kSelections[] = {
    {"FromAlways", "From: f\r\nTo: t\r\n", {}, {}, {}, "from | f"},
    {"FromFirst", "To: t\r\nFrom: f\r\n", {"To"}, {}, {}, "from:to | f t"},
    {"FromOnceWhenListedToo", "From: f\r\n", {"From", "from", "FROM"}, {}, {}, "from | f"},
    {"AbsentStaysOut", "From: f\r\n", {"List-Id", "Resent-From", "X-Y"}, {}, {}, "from | f"},
    {"RepeatedBottomUp", "A: 1\r\nFrom: f\r\nA: 2\r\nA: 3\r\n", {"A"}, {}, {}, "from:a:a:a | f 3 2 1"},
    {"RepeatedListedOftenIsTheSame", "A: 1\r\nFrom: f\r\nA: 2\r\n", {"A", "a", "A"}, {}, {}, "from:a:a | f 2 1"},
    {"OtherCaseIsTheSameField", "a: 1\r\nFROM: f\r\nA: 2\r\n", {"A"}, {}, {}, "from:a:a | f 2 1"},
    {"SpaceBeforeColonIsTheSameField", "A : 1\r\nFrom : f\r\n", {"a"}, {}, {}, "from:a | f 1"},
    {"OversignedPresent", "From: f\r\nA: 1\r\n", {}, {"From", "A"}, {}, "from:from:a:a | f 1"},
    {"OversignedAbsentOnce", "From: f\r\n", {}, {"A"}, {}, "from:a | f"},
    {"OversignedRepeated", "From: f\r\nA: 1\r\nA: 2\r\n", {"A"}, {"A"}, {}, "from:a:a:a | f 2 1"},
    {"OversignedTwiceInTheListIsOnce", "From: f\r\n", {"From"}, {"From", "from"}, {}, "from:from | f"},
    {"DateAndMessageIdMayBeAddedLater", "From: f\r\n", {}, {"Date", "Message-Id", "A"}, {}, "from:a | f"},
    {"OversignedDateAndMessageId",
     "From: f\r\nDATE: d\r\nMessage-ID: m\r\n",
     {},
     {"Date", "Message-ID"},
     {},
     "from:date:date:message-id:message-id | f d m"},
    {"ExcludedWins", "From: f\r\nA: 1\r\nB: 2\r\n", {"A", "B"}, {"A"}, {"a"}, "from:b | f 2"},
    {"FromCannotBeExcluded", "From: f\r\n", {}, {}, {"From"}, "from | f"},
    {"OrderOfTheProfile", "B: 2\r\nFrom: f\r\nA: 1\r\n", {"A", "B"}, {}, {}, "from:a:b | f 1 2"},
    {"NoFrom", "A: 1\r\n", {"A"}, {"From"}, {}, "FROM_MISSING"},
};

class Selection : public testing::TestWithParam<SelectionCase> {};

TEST_P(Selection, IsAsExpected) {
  const SelectionCase& row = GetParam();
  EXPECT_EQ(Select(row.block, Profile(row.listed, row.oversigned, row.excluded)), row.expected);
}

INSTANTIATE_TEST_SUITE_P(Of, Selection, testing::ValuesIn(kSelections),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Selection, IsBounded) {
  std::string block = "From: f\r\n";
  for (std::size_t i = 1; i < kMaxSignedNames; ++i) block += "A: 1\r\n";
  EXPECT_TRUE(Select(block, Profile({"A"}, {})).starts_with("from:a:a:"));
  EXPECT_EQ(Select(block, Profile({"A"}, {"A"})), "HEADER_TOO_LARGE");
  EXPECT_EQ(Select(block + "A: 1\r\n", Profile({"A"}, {})), "HEADER_TOO_LARGE");
  // What is not signed does not count.
  EXPECT_EQ(Select(block + "A: 1\r\n", Profile({}, {})), "from | f");
}

TEST(FieldsOf, TakesEachInstanceOnceFromTheBottom) {
  const auto header = Header::Parse("A: 1\r\nB: 2\r\nA: 3\r\n");
  std::string values;
  for (const Field* field : FieldsOf(*header, {"a", "B", "A", "a", "b", "C", ""})) values += field->value.substr(1, 1);
  EXPECT_EQ(values, "321");
}

}  // namespace
}  // namespace dkim_test
