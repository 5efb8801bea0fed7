#include <gtest/gtest.h>

#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark::dkim;
using namespace std::literals;

struct Message {
  const char* name;
  std::string octets;
};

const std::string kFrom = "From: Joe <joe@example.com>\r\n";

const Message kMessages[] = {
    {"Plain", kFrom + "To: ann@example.net\r\nSubject: x\r\n\r\nHello.\r\n"},
    {"NoBody", kFrom + "\r\n"},
    {"NoBlankLine", kFrom},
    {"NoLineEndAtAll", "From: joe@example.com"},
    {"OnlyBlankLinesInTheBody", kFrom + "\r\n\r\n\r\n\r\n"},
    {"OnlySpaceInTheBody", kFrom + "\r\n \t \r\n\t\r\n"},
    {"NoFinalLineEnd", kFrom + "\r\nHello"},
    {"TrailingBlankLines", kFrom + "\r\nHello\r\n\r\n\r\n"},
    {"SpaceEverywhere",
     "From \t:  Joe   <joe@example.com> \t \r\nSubject:\ta  b\t\r\n\t \r\n\r\n a  b\t\r\n \r\nc \r\n"},
    {"Folded", "From:\r\n Joe\r\n\t<joe@example.com>\r\n \r\nSubject:\r\n x\r\n\r\nHello.\r\n"},
    {"EmptyValues", kFrom + "Subject:\r\nTo: \r\nCc:\r\n \r\n\r\nHello.\r\n"},
    {"OddCase", "fRoM: joe@example.com\r\nsUBJECT: X\r\nCONTENT-type: text/plain\r\n\r\nHello.\r\n"},
    {"Repeated", "Subject: 1\r\n" + kFrom + "Subject: 2\r\nTo: a\r\nTo: b\r\nSubject: 3\r\n\r\nHello.\r\n"},
    {"EightBit", "From: J\xf6rg <joe@example.com>\r\nSubject: \xe4\xbd\xa0\xff\r\n\r\n\xe9\xe8 \xa0\xa0\r\n"},
    {"Utf8Author",
     "From: j\xc3\xb6rg@b\xc3\xbc"
     "cher.example\r\nSubject: x\r\n\r\nHello.\r\n"},
    {"Nul", kFrom + "Subject: a\0b\r\n\r\n\0\0 \0\r\n"s},
    {"ControlCharacters", kFrom + "Subject: \x01\x1b\x7f\f\v\r\n\r\n\f\f \f\r\n"},
    {"BareLf", "From: joe@example.com\nSubject: x\n y\n\nHello\n\nyou\n"},
    {"BareCr", "From: joe@example.com\rSubject: x\r y\r\n\r\n\rHello\r\ryou\r"},
    {"MixedLineEnds", "From: joe@example.com\nSubject: x\r\n\nHello\r\r\nyou\n\r"},
    {"LongLine", kFrom + "References: " + std::string(5000, 'x') + "\r\n\r\n" + std::string(200'000, 'y') + "\r\n"},
    {"LongFrom", "From: " + std::string(20'000, 'x') + " <joe@example.com>\r\n\r\nHello.\r\n"},
    {"Dots", kFrom + "\r\n..\r\n.\r\n.Hello\r\n"},
    {"OldSignature", "DKIM-Signature: v=1; b=\r\nReceived: x\r\n" + kFrom + "\r\nHello.\r\n"},
};

class RoundTrip : public testing::TestWithParam<Message> {};

// All four pairs of canonicalizations by both algorithms; in pieces of any size the field is the same.
TEST_P(RoundTrip, Verifies) {
  const std::string& message = GetParam().octets;
  for (const auto header : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
    for (const auto body : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
      for (const TestKey* key : {&Ed25519(), &Rsa2048()}) {
        Signing how{.key = key};
        how.profile.header = header;
        how.profile.body = body;
        how.profile.copied_fields = true;
        const std::string field = MakeField(message, how);
        ASSERT_EQ(Verdicts(field + message, ZoneOf(how)).substr(0, 4), "pass") << field;
        for (const std::size_t chunk : {1u, 7u, 64u << 10}) {
          how.chunk = chunk;
          ASSERT_EQ(MakeField(message, how), field) << "in pieces of " << chunk;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, RoundTrip, testing::ValuesIn(kMessages),
                         [](const auto& row) { return std::string(row.param.name); });

// The two halves of c= are not mixed up: each pair fails where only its simple half may.
TEST(Canonicalization, OfHeaderAndBodyAreApart) {
  const std::string message = kFrom + "Subject: a b\r\n\r\na b\r\n";
  const std::string other_header = kFrom + "Subject:  a  b\r\n\r\na b\r\n";
  const std::string other_body = kFrom + "Subject: a b\r\n\r\na  b \r\n";
  for (const bool relaxed_header : {false, true}) {
    for (const bool relaxed_body : {false, true}) {
      Signing how;
      how.profile.header = relaxed_header ? Canonicalization::kRelaxed : Canonicalization::kSimple;
      how.profile.body = relaxed_body ? Canonicalization::kRelaxed : Canonicalization::kSimple;
      const std::string field = MakeField(message, how);
      EXPECT_EQ(Verdicts(field + message, ZoneOf(how)), "pass");
      EXPECT_EQ(Verdicts(field + other_header, ZoneOf(how)) == "pass", relaxed_header);
      EXPECT_EQ(Verdicts(field + other_body, ZoneOf(how)) == "pass", relaxed_body);
    }
  }
}

}  // namespace
}  // namespace dkim_test
