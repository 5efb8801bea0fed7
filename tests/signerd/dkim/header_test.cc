#include <gtest/gtest.h>

#include "signerd/dkim/header.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using namespace std::literals;

// All that a header says, in one line; or why there is none.
std::string Describe(const Result<Header>& header) {
  if (!header) return std::string(ReasonName(header.error().reason)) + ": " + header.error().message;
  std::string text;
  for (const Field& field : header->fields()) {
    text += "[" + Escaped(field.name) + "|" + Escaped(field.value) + "]";
    EXPECT_TRUE(field.raw.starts_with(field.name));
    EXPECT_TRUE(field.raw.ends_with(field.value));
    EXPECT_TRUE(field.raw.ends_with("\r\n"));
  }
  const LineFacts& lines = header->line_facts();
  text += " lf=" + std::to_string(lines.bare_lf) + " cr=" + std::to_string(lines.bare_cr);
  return text + (header->crlf() ? "" : " answer in LF");
}

struct Read {
  std::string header;
  std::string body;
};

Read ReadPieces(const std::vector<std::string_view>& pieces, const Limits& limits = {}) {
  HeaderReader reader(limits);
  std::string body;
  for (std::string_view piece : pieces) {
    if (!reader.done()) {
      const auto taken = reader.Push(piece);
      if (!taken) return {std::string(ReasonName(taken.error().reason)) + ": " + taken.error().message, ""};
      EXPECT_TRUE(*taken == piece.size() || reader.done());
      piece.remove_prefix(*taken);
    }
    body += piece;
  }
  return {Describe(std::move(reader).Finish()), body};
}

struct HeaderCase {
  const char* name;
  std::string_view message, header, body;
};

constexpr std::string_view kEndsInBareCr =
    "HEADER_MALFORMED: the header ends in a bare CR, so that others find its end elsewhere: send lines that end in "
    "CRLF";

constexpr HeaderCase kHeaders[] = {
    {"Plain", "A: b\r\nC: d\r\n\r\nbody\r\n", "[A| b\\r\\n][C| d\\r\\n] lf=0 cr=0", "body\r\n"},
    {"NoBody", "A: b\r\n\r\n", "[A| b\\r\\n] lf=0 cr=0", ""},
    {"NoBlankLine", "A: b\r\n", "[A| b\\r\\n] lf=0 cr=0", ""},
    {"NoLineEnd", "A: b", "[A| b\\r\\n] lf=0 cr=0", ""},
    {"Folds", "A: b\r\n c\r\n\td\r\nE:\r\n f\r\n\r\n", "[A| b\\r\\n c\\r\\n\\x09d\\r\\n][E|\\r\\n f\\r\\n] lf=0 cr=0",
     ""},
    {"FoldOfOnlySpace", "A: b\r\n \t\r\nC: d\r\n\r\n", "[A| b\\r\\n \\x09\\r\\n][C| d\\r\\n] lf=0 cr=0", ""},
    {"SpaceBeforeColon", "A \t: b\r\n\r\n", "[A| b\\r\\n] lf=0 cr=0", ""},
    {"FromWithSpaceBeforeColon", "From : a@b\r\n\r\n", "[From| a@b\\r\\n] lf=0 cr=0", ""},
    {"NoSpaceAfterColon", "A:b\r\n\r\n", "[A|b\\r\\n] lf=0 cr=0", ""},
    {"EmptyValue", "A:\r\nB: \r\n\r\n", "[A|\\r\\n][B| \\r\\n] lf=0 cr=0", ""},
    {"ColonsInTheValue", "A: b:c::\r\n\r\n", "[A| b:c::\\r\\n] lf=0 cr=0", ""},
    {"OddNames", "X-!#$%&'*+/=?^`{|}~1: b\r\n\r\n", "[X-!#$%&'*+/=?^`{|}~1| b\\r\\n] lf=0 cr=0", ""},
    {"EightBitValue", "A: J\xf6rg \xe4\xbd\xa0\r\n\r\n", "[A| J\\xf6rg \\xe4\\xbd\\xa0\\r\\n] lf=0 cr=0", ""},
    {"NulInTheValue", "A: b\0c\r\n\r\n\0"sv, "[A| b\\x00c\\r\\n] lf=0 cr=0", "\0"sv},
    {"BlankLineFirst", "\r\nA: b\r\n", " lf=0 cr=0", "A: b\r\n"},
    {"Nothing", "", " lf=0 cr=0", ""},
    {"BareLf", "A: b\nC: d\n e\n\nbody\n", "[A| b\\r\\n][C| d\\r\\n e\\r\\n] lf=4 cr=0 answer in LF", "body\n"},
    {"BareCr", "A: b\rC: d\r e\r\n\r\n\rbody\r", "[A| b\\r\\n][C| d\\r\\n e\\r\\n] lf=0 cr=2", "\rbody\r"},
    {"BareCrBeforeBareLf", "A: b\rC: d\n\nbody", "[A| b\\r\\n][C| d\\r\\n] lf=2 cr=1", "body"},
    {"MixedLineEnds", "A: b\nC: d\r\nE: f\r\n\nbody", "[A| b\\r\\n][C| d\\r\\n][E| f\\r\\n] lf=2 cr=0 answer in LF",
     "body"},
    {"LaterBareLf", "A: b\r\nC: d\n\r\n", "[A| b\\r\\n][C| d\\r\\n] lf=1 cr=0", ""},
    {"BareCrOnly", "A: b\rC: d\r\rbody\r", kEndsInBareCr, ""},
    {"BareCrBeforeCrlf", "A: b\r\r\nC: d\r\n\r\n", kEndsInBareCr, ""},
    {"BareCrBeforeLf", "A: b\r\r\n\r\nbody", kEndsInBareCr, ""},
    {"BareCrAsBlankLine", "A: b\r\n\rbody", kEndsInBareCr, ""},
    {"BareCrAsBlankLineAfterLf", "A: b\n\rbody", kEndsInBareCr, ""},
    {"BareCrAsBlankLineAndCrlf", "A: b\r\n\r\r\nbody", kEndsInBareCr, ""},
    {"BareCrFirst", "\rA: b\r\n\r\n", kEndsInBareCr, ""},
    {"EndsInCr", "A: b\r", kEndsInBareCr, ""},
    {"EndsInCrOfTheBlankLine", "A: b\r\n\r", kEndsInBareCr, ""},
    {"BlankLinesAreBody", "A: b\r\n\r\n\r\n\r\n", "[A| b\\r\\n] lf=0 cr=0", "\r\n\r\n"},
    {"NoColon", "A: b\r\nno colon\r\n\r\n", "HEADER_MALFORMED: header line 2 has no colon: not a header field", ""},
    {"StartsWithFold", " A: b\r\n\r\n",
     "HEADER_MALFORMED: header line 1 begins with white space, but there is no field to continue", ""},
    {"MailboxLine", "From a@b Fri Jul 11 21:00:37 2003\r\nA: b\r\n\r\n",
     "HEADER_MALFORMED: header line 1 is an mbox separator (\"From \"): pass the message without it", ""},
    {"QuotedMailboxLine", ">From a@b Fri Jul 11 21:00:37 2003\r\nA: b\r\n\r\n",
     "HEADER_MALFORMED: header line 1 is an mbox separator (\"From \"): pass the message without it", ""},
    {"EmptyName", "A: b\r\n: c\r\n\r\n", "HEADER_MALFORMED: header line 2 has no field name before the colon", ""},
    {"SpaceInName", "A b: c\r\n\r\n",
     "HEADER_MALFORMED: header line 1 has a field name with an octet that is not printable ASCII", ""},
    {"Utf8Name", "B\xc3\xa4r: c\r\n\r\n",
     "HEADER_MALFORMED: header line 1 has a field name with an octet that is not printable ASCII", ""},
};

class HeaderBlock : public testing::TestWithParam<HeaderCase> {};

TEST_P(HeaderBlock, IsReadAlikeAtEveryCut) {
  const HeaderCase& row = GetParam();
  for (std::size_t first = 0; first <= row.message.size(); ++first) {
    for (std::size_t second = first; second <= row.message.size(); ++second) {
      const Read read = ReadPieces(
          {row.message.substr(0, first), row.message.substr(first, second - first), row.message.substr(second)});
      ASSERT_EQ(read.header, row.header) << "cut at " << first << " and " << second;
      if (row.header.find("HEADER_") == std::string_view::npos) {
        ASSERT_EQ(Escaped(read.body), Escaped(row.body)) << "cut at " << first << " and " << second;
      }
    }
  }
}

TEST_P(HeaderBlock, IsReadAlikeInOctets) {
  const HeaderCase& row = GetParam();
  std::vector<std::string_view> octets;
  for (const char& c : row.message) octets.emplace_back(&c, 1);
  EXPECT_EQ(ReadPieces(octets).header, row.header);
}

INSTANTIATE_TEST_SUITE_P(Of, HeaderBlock, testing::ValuesIn(kHeaders),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ParseHeader, TakesABlockWithOrWithoutItsBlankLine) {
  for (const char* block : {"A: b\r\n", "A: b", "A: b\r\n\r\n", "A: b\n\n"}) {
    const auto header = Header::Parse(block);
    ASSERT_TRUE(header) << block;
    EXPECT_EQ(header->block(), "A: b\r\n");
  }
}

TEST(ParseHeader, RefusesABody) {
  const auto header = Header::Parse("A: b\r\n\r\nbody");
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().reason, Reason::kHeaderMalformed);
}

TEST(Header, ViewsOutliveAMove) {
  auto made = Header::Parse("A: b\r\n");  // short: a string that moves would take its octets along
  const std::string_view name = made->fields()[0].name;
  const Header moved = std::move(*made);
  EXPECT_EQ(moved.fields()[0].name.data(), name.data());
  EXPECT_EQ(moved.fields()[0].raw, "A: b\r\n");
}

TEST(HeaderLimits, OctetsAreCounted) {
  const Limits limits{.header_octets = 20, .header_fields = 100};
  EXPECT_EQ(ReadPieces({"A: 345678901234567\r\n\r\n"}, limits).header, "[A| 345678901234567\\r\\n] lf=0 cr=0");
  EXPECT_TRUE(ReadPieces({"A: 3456789012345678\r\n\r\n"}, limits).header.starts_with("HEADER_TOO_LARGE: "));
  EXPECT_TRUE(ReadPieces({"A: 3456789012345678\n\n"}, limits).header.starts_with("HEADER_TOO_LARGE: "));
  // What is body does not count.
  EXPECT_EQ(ReadPieces({"A: b\r\n\r\n" + std::string(1000, 'x')}, limits).header, "[A| b\\r\\n] lf=0 cr=0");
}

TEST(HeaderLimits, AnEndlessLineIsRefusedBeforeItIsKept) {
  HeaderReader reader({.header_octets = 1000, .header_fields = 10});
  const std::string piece(400, 'x');
  ASSERT_TRUE(reader.Push(piece));
  ASSERT_TRUE(reader.Push(piece));
  const auto refused = reader.Push(piece);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "the header is larger than 1000 octets");
}

TEST(HeaderLimits, FieldsAreCounted) {
  std::string block;
  for (int i = 0; i < 3; ++i) block += "A: b\r\n";
  EXPECT_TRUE(Header::Parse(block, {.header_octets = 1000, .header_fields = 3}));
  const auto refused = Header::Parse(block, {.header_octets = 1000, .header_fields = 2});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "the header has more than 2 fields");
}

// From, and all else, may be as large as the header may be.
TEST(HeaderLimits, OneFieldMayBeLarge) {
  const std::string value(900'000, 'x');
  const auto header = Header::Parse("From: " + value + "\r\nA: b\r\n");
  ASSERT_TRUE(header);
  EXPECT_EQ(header->fields()[0].value.size(), value.size() + 3);
}

}  // namespace
}  // namespace dkim_test
