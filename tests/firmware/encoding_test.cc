#include "firmware/runtime/encoding.h"

#include <gtest/gtest.h>

namespace hallmark {
namespace {

Bytes Octets(std::string_view text) { return {text.begin(), text.end()}; }

// RFC 4648 section 10.
TEST(Base64, Rfc4648Vectors) {
  const std::pair<std::string_view, std::string_view> kRows[] = {{"", ""},
                                                                 {"f", "Zg=="},
                                                                 {"fo", "Zm8="},
                                                                 {"foo", "Zm9v"},
                                                                 {"foob", "Zm9vYg=="},
                                                                 {"fooba", "Zm9vYmE="},
                                                                 {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : kRows) {
    EXPECT_EQ(Base64Encode(AsBytes(plain)), encoded);
    const auto decoded = Base64Decode(encoded);
    ASSERT_TRUE(decoded) << encoded;
    EXPECT_EQ(*decoded, Octets(plain));
  }
}

TEST(Base64, RefusesWhatIsNotExact) {
  for (const char* wrong :
       {"Zg", "Zg=", "Zg==\n", " Zg==", "Zh==", "Z===", "====", "Zm9v!mFy", "Zm9=vYmF", "Zg==Zg=="}) {
    EXPECT_FALSE(Base64Decode(wrong)) << wrong;
  }
}

TEST(Hex, RoundTripInEitherCase) {
  const Bytes octets = {0x00, 0x7f, 0x80, 0xff};
  EXPECT_EQ(HexEncode(octets), "007f80ff");
  ASSERT_TRUE(HexDecode("007F80Ff"));
  EXPECT_EQ(*HexDecode("007F80Ff"), octets);
}

TEST(Hex, RefusesOddLengthAndOtherCharacters) {
  for (const char* wrong : {"0", "0g", "0x00", "00 ", "-1"}) EXPECT_FALSE(HexDecode(wrong)) << wrong;
}

TEST(Utf8, TellsCharactersFromOtherOctets) {
  using namespace std::string_view_literals;
  const std::pair<std::string_view, std::size_t> rows[] = {
      {"a", 1},
      {"\0"sv, 1},
      {"\xc3\xa9 etc.", 2},
      {"\xe4\xbd\xa0", 3},
      {"\xf0\x9f\x93\xa7", 4},
      {"\xf4\x8f\xbf\xbf", 4},
      {"", 0},
      {"\xe9", 0},              // Latin-1
      {"\xc3", 0},              // cut off
      {"\xc3(", 0},             // another octet within
      {"\x80", 0},              // begins within
      {"\xc0\xaf", 0},          // overlong
      {"\xe0\x9f\xbf", 0},      // overlong
      {"\xf0\x8f\xbf\xbf", 0},  // overlong
      {"\xed\xa0\x80", 0},      // a surrogate
      {"\xf4\x90\x80\x80", 0},  // beyond U+10FFFF
      {"\xff", 0},
  };
  for (const auto& [text, octets] : rows) EXPECT_EQ(Utf8Octets(text), octets) << HexEncode(AsBytes(text));
}

}  // namespace
}  // namespace hallmark
