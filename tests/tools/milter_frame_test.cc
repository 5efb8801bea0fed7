#include "tools/milter/frame.h"

#include <gtest/gtest.h>

#include "milter_conversation.h"

namespace hallmark::milter {
namespace {

const std::string kPackets[] = {
    Packet('Q'), Packet('D', Strings({"Mi", "4711"})),        Packet('B', std::string(65535, 'x')),
    Packet('B'), Packet('L', Strings({"Subject", " Lunch"})),
};

TEST(MilterFrame, ComesOutAsItWentInAtEverySplit) {
  for (const std::string& packet : kPackets) {
    // Long ones are cut where something may go wrong.
    for (std::size_t cut = 0; cut < packet.size(); cut += cut < 10 || cut + 10 > packet.size() ? 1 : 4093) {
      Decoder decoder;
      decoder.Push(packet.substr(0, cut));
      EXPECT_FALSE((*decoder.Next()).has_value());
      decoder.Push(packet.substr(cut));
      const auto frame = decoder.Next();
      ASSERT_TRUE(frame && frame->has_value()) << "cut at " << cut;
      EXPECT_EQ(Packet((*frame)->command, (*frame)->data), packet);
      EXPECT_FALSE((*decoder.Next()).has_value());
    }
  }
}

TEST(MilterFrame, FollowOneAnother) {
  std::string all;
  for (const std::string& packet : kPackets) all += packet;
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, std::size_t{65536}, all.size()}) {
    Decoder decoder;
    std::string out;
    for (std::size_t at = 0; at < all.size(); at += piece) {
      decoder.Push(all.substr(at, piece));
      for (auto frame = decoder.Next(); frame->has_value(); frame = decoder.Next()) {
        out += Packet((*frame)->command, (*frame)->data);
      }
    }
    EXPECT_EQ(out, all) << "in pieces of " << piece;
  }
}

TEST(MilterFrame, LengthsThatNoMtaSendsAreRefusedAtOnce) {
  for (const std::uint32_t length :
       {0u, static_cast<std::uint32_t>(kMaxFrame) + 1, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    Decoder decoder;
    std::string octets;
    AppendU32(octets, length);
    decoder.Push(octets);
    EXPECT_FALSE(decoder.Next()) << length;
    decoder.Push(Packet('Q'));
    EXPECT_FALSE(decoder.Next()) << "nothing can follow";
  }
}

TEST(MilterFrame, LongestOneIsTaken) {
  Decoder decoder;
  decoder.Push(Packet('L', std::string(kMaxFrame - 1, 'x')));
  const auto frame = decoder.Next();
  ASSERT_TRUE(frame && frame->has_value());
  EXPECT_EQ((*frame)->data.size(), kMaxFrame - 1);
}

TEST(MilterFrame, StringsWithAndWithoutTheLastNul) {
  using Views = std::vector<std::string_view>;
  const std::string_view nul("\0", 1), two("a\0b", 3), empties("\0\0a\0", 4);
  EXPECT_EQ(SplitStrings(""), Views());
  EXPECT_EQ(SplitStrings(nul), Views({""}));
  EXPECT_EQ(SplitStrings("a"), Views({"a"}));
  EXPECT_EQ(SplitStrings(two), Views({"a", "b"}));
  EXPECT_EQ(SplitStrings(empties), Views({"", "", "a"}));
}

TEST(MilterFrame, AnswersAsAnMtaReadsThem) {
  std::string out;
  AppendReply(out, Reply::kContinue);
  AppendReplyCode(out, "451 4.3.0 Later");
  AppendInsertAtTop(out, "X", " a\n b");
  using namespace std::string_view_literals;
  EXPECT_EQ(out, "\0\0\0\1c\0\0\0\x11y451 4.3.0 Later\0\0\0\0\x0di\0\0\0\0X\0 a\n b\0"sv);
}

}  // namespace
}  // namespace hallmark::milter
