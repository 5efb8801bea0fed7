#include <gtest/gtest.h>

#include "signerd/dkim/canonical.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark::dkim;
using namespace std::literals;

struct FieldCase {
  const char* name;
  std::string_view raw, relaxed;
};

constexpr FieldCase kFields[] = {
    {"ExampleOfTheRfcA", "A: X\r\n", "a:X\r\n"},
    {"ExampleOfTheRfcB", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
    {"FoldAfterTheColon", "List-Unsubscribe:\r\n <https://example.com/u>\r\n",
     "list-unsubscribe:<https://example.com/u>\r\n"},
    {"FoldAfterTheColonByTab", "Subject:\r\n\tx\r\n", "subject:x\r\n"},
    {"TwoFoldsAfterTheColon", "Subject: \r\n \r\n\tx\r\n", "subject:x\r\n"},
    {"EmptyValue", "Subject:\r\n", "subject:\r\n"},
    {"EmptyValueWithSpace", "Subject: \r\n", "subject:\r\n"},
    {"EmptyValueFolded", "Subject:\r\n \r\n\t\r\n", "subject:\r\n"},
    {"SpaceBeforeColon", "Subject \t : x\r\n", "subject:x\r\n"},
    {"NoSpaceAfterColon", "Subject:x\r\n", "subject:x\r\n"},
    {"SpaceAtTheEnd", "Subject: x \t\r\n", "subject:x\r\n"},
    {"FoldAtTheEnd", "Subject: x\r\n \t\r\n", "subject:x\r\n"},
    {"FoldInTheMiddle", "Subject: x\r\n y\r\n\t z\r\n", "subject:x y z\r\n"},
    {"SpacesBeforeAFold", "Subject: x  \r\n  y\r\n", "subject:x y\r\n"},
    {"TightAddressList", "Cc: a@x,b@y\r\n", "cc:a@x,b@y\r\n"},
    {"OddCase", "sUbJeCt: X Y\r\n", "subject:X Y\r\n"},
    {"FormFeedIsNoSpace", "Subject: \fa\f \f\r\n", "subject:\fa\f \f\r\n"},
    {"NoBreakSpaceIsNoSpace", "Subject: \xa0 a\xc2\xa0\r\n", "subject:\xa0 a\xc2\xa0\r\n"},
    {"EightBit", "Subject:  J\xf6rg  \xe4\xbd\xa0\r\n", "subject:J\xf6rg \xe4\xbd\xa0\r\n"},
    {"Iso2022", "Subject: \x1b$B\x25\x46\x1b(B  x\r\n", "subject:\x1b$B\x25\x46\x1b(B x\r\n"},
    {"Nul", "Subject: a\0  b\r\n"sv, "subject:a\0 b\r\n"sv},
    {"ColonsInTheValue", "Subject: a : b\r\n", "subject:a : b\r\n"},
};

class CanonicalHeader : public testing::TestWithParam<FieldCase> {};

TEST_P(CanonicalHeader, IsRelaxed) {
  EXPECT_EQ(Escaped(CanonicalField(Canonicalization::kRelaxed, GetParam().raw)), Escaped(GetParam().relaxed));
}

TEST_P(CanonicalHeader, IsUntouchedWhenSimple) {
  EXPECT_EQ(CanonicalField(Canonicalization::kSimple, GetParam().raw), GetParam().raw);
}

TEST_P(CanonicalHeader, RelaxedTwiceIsRelaxedOnce) {
  EXPECT_EQ(CanonicalField(Canonicalization::kRelaxed, GetParam().relaxed), GetParam().relaxed);
}

INSTANTIATE_TEST_SUITE_P(Rfc6376, CanonicalHeader, testing::ValuesIn(kFields),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(CanonicalHeader, LongFieldsTakeLinearTime) {
  std::string raw = "References:";
  for (int i = 0; i < 100'000; ++i) raw += "\r\n  <id" + std::to_string(i) + "@example.com>";
  const std::string canonical = CanonicalField(Canonicalization::kRelaxed, raw + "\r\n");
  EXPECT_TRUE(canonical.starts_with("references:<id0@example.com> <id1@example.com> "));
  EXPECT_TRUE(canonical.ends_with(" <id99999@example.com>\r\n"));
}

}  // namespace
}  // namespace dkim_test
