#include "tools/relay-client/wire_form.h"

#include <gtest/gtest.h>

namespace hallmark::relay {
namespace {

struct Case {
  const char* name;
  std::string_view message, wire;
};

constexpr Case kCases[] = {
    {"EmptyStaysEmpty", "", ""},
    {"CrlfStays", "a: b\r\n\r\nc\r\n", "a: b\r\n\r\nc\r\n"},
    {"BareLf", "a: b\n\nc\n", "a: b\r\n\r\nc\r\n"},
    {"BareCr", "a: b\r\rc\r", "a: b\r\n\r\nc\r\n"},
    {"CrCrLf", "a\r\r\nb\r\n", "a\r\n\r\nb\r\n"},
    {"LfCr", "a\n\rb", "a\r\n\r\nb\r\n"},
    {"NoFinalLineEnd", "a: b\r\n\r\nc", "a: b\r\n\r\nc\r\n"},
    {"HeaderOnly", "a: b", "a: b\r\n"},
    {"BlankLineOnly", "\n", "\r\n"},
    {"TrailingBlankLines", "a\n\n\n", "a\r\n\r\n\r\n"},
    {"DotsStay", "a: b\r\n\r\n..c\r\n.\r\n", "a: b\r\n\r\n..c\r\n.\r\n"},
    {"EightBit", "\xff\n\x80", "\xff\r\n\x80\r\n"},
};

class WireFormCase : public testing::TestWithParam<Case> {};

TEST_P(WireFormCase, SameAtEverySplit) {
  const Case& row = GetParam();
  EXPECT_EQ(ToWireForm(row.message), row.wire);
  for (std::size_t first = 0; first <= row.message.size(); ++first) {
    for (std::size_t second = first; second <= row.message.size(); ++second) {
      WireForm form;
      std::string out;
      form.Push(row.message.substr(0, first), out);
      form.Push(row.message.substr(first, second - first), out);
      form.Push(row.message.substr(second), out);
      form.Finish(out);
      EXPECT_EQ(out, row.wire) << "cut at " << first << " and " << second;
    }
  }
}

TEST_P(WireFormCase, OnceIsEnough) {
  const std::string wire = ToWireForm(GetParam().message);
  EXPECT_EQ(ToWireForm(wire), wire);
}

// dkim-sign's way with a message whose header has LF.
TEST_P(WireFormCase, LineEndsMayBeLf) {
  std::string expected(GetParam().wire);
  for (std::size_t at = 0; (at = expected.find("\r\n", at)) != std::string::npos;) expected.erase(at, 1);
  WireForm form("\n");
  std::string out;
  for (const char octet : GetParam().message) form.Push(std::string_view(&octet, 1), out);
  form.Finish(out);
  EXPECT_EQ(out, expected);
}

INSTANTIATE_TEST_SUITE_P(Messages, WireFormCase, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace hallmark::relay
