#include "hsm/link/frame.h"

#include <gtest/gtest.h>

#include <string>

namespace hallmark::link {
namespace {

const Frame kFrames[] = {
    Hello{kVersion, 4711},
    TokenStatus{TokenState::kDown, 0x30, "no answer", "label", "serial", "maker", "model", 4, 7, 1, 2},
    DefineKey{9, KeyType::kEd25519, {1, 2, 3}, {4, 5, 6, 7}},
    SignBatch{5000, {{1, 9, InputKind::kDigest, Bytes(32, 0xaa)}, {2, 10, InputKind::kData, {0x0d, 0x0a}}}},
    SignBatch{0, {}},
    SignResults{{{1, Outcome::kOk, 0, Bytes(64, 0xbb)}, {2, Outcome::kInvalid, 0x20, {}}}},
    GenerateKey{3, KeyType::kRsa, 2048, {0xff}, "key"},
    FindKey{4, {}},
    KeyReply{4, Outcome::kOk, 0, "", KeyType::kRsa, 2048, {0x30}, 1, 0, 1},
    Ping{0xffffffffffffffff},
    Pong{0},
    DestroyKey{5, {1, 2}, {0x30, 0x31}},
    BeginImport{6},
    ImportKey{7, {1, 2}, "key", Bytes(32, 0xcc), Bytes(256, 0xdd), Bytes(40, 0xee), {0x30}},
    KeyCallBegun{8, 1},
};

TEST(LinkFrame, ComesOutAsItWentInAtEverySplit) {
  for (const Frame& frame : kFrames) {
    const auto octets = Encode(frame);
    ASSERT_TRUE(octets);
    for (std::size_t cut = 0; cut <= octets->size(); ++cut) {
      Decoder decoder;
      decoder.Push(ByteView(*octets).first(cut));
      auto decoded = decoder.Next();
      ASSERT_TRUE(decoded);
      if (cut < octets->size()) {
        EXPECT_FALSE(decoded->has_value());
        decoder.Push(ByteView(*octets).subspan(cut));
        decoded = decoder.Next();
      }
      ASSERT_TRUE(decoded && decoded->has_value()) << "frame type " << frame.index() + 1 << ", cut at " << cut;
      EXPECT_EQ((*decoded)->index(), frame.index());
      EXPECT_EQ(*Encode(**decoded), *octets);
    }
  }
}

TEST(LinkFrame, FollowOneAnother) {
  Decoder decoder;
  for (const Frame& frame : kFrames) decoder.Push(*Encode(frame));
  for (const Frame& frame : kFrames) {
    const auto decoded = decoder.Next();
    ASSERT_TRUE(decoded && decoded->has_value());
    EXPECT_EQ((*decoded)->index(), frame.index());
  }
  EXPECT_FALSE(decoder.Next()->has_value());
}

TEST(LinkFrame, KeepsEveryFieldOfABatch) {
  Decoder decoder;
  decoder.Push(*Encode(kFrames[3]));
  const auto frame = decoder.Next();
  const auto& batch = std::get<SignBatch>(**frame);
  EXPECT_EQ(batch.timeout_ms, 5000u);
  ASSERT_EQ(batch.items.size(), 2u);
  EXPECT_EQ(batch.items[1].id, 2u);
  EXPECT_EQ(batch.items[1].key_ref, 10u);
  EXPECT_EQ(batch.items[1].kind, InputKind::kData);
  EXPECT_EQ(batch.items[1].input, (Bytes{0x0d, 0x0a}));
}

TEST(LinkFrame, OversizeIsNotEncoded) {
  EXPECT_FALSE(Encode(SignBatch{0, std::vector<SignItem>(kMaxBatch + 1)}));
  EXPECT_FALSE(Encode(SignResults{std::vector<SignOutcome>(kMaxBatch + 1)}));
  EXPECT_FALSE(Encode(FindKey{1, Bytes(kMaxFrame)}));
  EXPECT_TRUE(Encode(SignBatch{0, std::vector<SignItem>(kMaxBatch)}));
}

struct Hostile {
  const char* name;
  Bytes octets;
};

const Hostile kHostile[] = {
    {"LongerThanAllowed", {0x00, 0x40, 0x00, 0x01, 9}},
    {"LongestNumber", {0xff, 0xff, 0xff, 0xff, 1}},
    {"TypeZero", {0, 0, 0, 0, 0}},
    {"TypeAfterTheLast", {0, 0, 0, 0, 14}},
    {"PayloadTooShort", {0, 0, 0, 7, 9, 0, 0, 0, 0, 0, 0, 0}},
    {"PayloadTooLong", {0, 0, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"EmptyPayload", {0, 0, 0, 0, 9}},
    {"StringPastTheEnd", {0, 0, 0, 13, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0xaa}},
    {"StringLengthWraps", {0, 0, 0, 12, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}},
    {"BatchOfMoreThanFits", {0, 0, 0, 8, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}},
    {"BatchOfMoreThanAllowed", {0, 0, 0, 8, 4, 0, 0, 0, 1, 0, 0, 4, 1}},
    {"BatchCutOff", {0, 0, 0, 9, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0}},
    {"KeyTypeZero", {0, 0, 0, 13, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"KeyTypeThree", {0, 0, 0, 13, 3, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"InputKindZero", {0, 0, 0, 25, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0}},
    {"OutcomeUnknown", {0, 0, 0, 25, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"ImportKeyCutOff", {0, 0, 0, 12, 13, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}},
    {"TokenStateUnknown", {0, 0, 0, 1, 2, 6}},
};

class HostileFrame : public testing::TestWithParam<Hostile> {};

TEST_P(HostileFrame, IsRefusedAtEverySplit) {
  const Bytes& octets = GetParam().octets;
  for (std::size_t cut = 0; cut <= octets.size(); ++cut) {
    Decoder decoder;
    decoder.Push(ByteView(octets).first(cut));
    auto decoded = decoder.Next();
    if (decoded) {
      EXPECT_FALSE(decoded->has_value());
      decoder.Push(ByteView(octets).subspan(cut));
      decoded = decoder.Next();
    }
    ASSERT_FALSE(decoded) << "cut at " << cut;
    EXPECT_EQ(decoded.error().reason, Reason::kInvalidArgument);
    EXPECT_FALSE(decoder.Next()) << "an error is final";
  }
}
INSTANTIATE_TEST_SUITE_P(Link, HostileFrame, testing::ValuesIn(kHostile),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace hallmark::link
