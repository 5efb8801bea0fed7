#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "signerd/dkim/canonical.h"
#include "signerd/dkim/sha256.h"
#include "tools/relay-client/message_reader.h"

namespace hallmark::relay {
namespace {

using namespace std::literals;

struct Case {
  const char* name;
  std::string_view message;
  std::string_view header;  // its first octets
  std::string_view body;
};

constexpr Case kCases[] = {
    {"Usual", "From: a@example.com\r\nSubject: x\r\n\r\nHello \t there \r\n\r\n\r\n",
     "From: a@example.com\r\nSubject: x\r\n\r\n", "Hello \t there \r\n\r\n\r\n"},
    {"NoBody", "From: a@example.com\r\n\r\n", "From: a@example.com\r\n\r\n", ""},
    {"NoBlankLine", "From: a@example.com\r\nTo: b@example.com", "From: a@example.com\r\nTo: b@example.com", ""},
    {"NoHeader", "\r\nHello", "\r\n", "Hello"},
    {"Nothing", "", "", ""},
    {"BareLineEnds", "From: a@example.com\nTo: b\r\n\nHel\rlo\n \n", "From: a@example.com\nTo: b\r\n\n",
     "Hel\rlo\n \n"},
    {"BlankLineIsBareCr", "From: a@example.com\r\r\n\rX", "From: a@example.com\r\r\n", "\rX"},
    {"Nul", "From: a@example.com\r\n\r\na\0b \0\r\n"sv, "From: a@example.com\r\n\r\n", "a\0b \0\r\n"sv},
};

class RelayMessage : public testing::TestWithParam<Case> {};

TEST_P(RelayMessage, IsTheSameAtEveryCut) {
  for (const Canonicalization canonicalization : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
    const auto& [name, message, header, body] = GetParam();
    Settings settings;
    settings.body_canonicalization = canonicalization;
    const auto dkim = canonicalization == Canonicalization::kSimple ? dkim::Canonicalization::kSimple
                                                                    : dkim::Canonicalization::kRelaxed;
    const std::string canonical = dkim::CanonicalBody(dkim, body);
    dkim::Sha256 hash;
    hash.Update(canonical);
    const dkim::Digest expected = hash.Finish();
    for (std::size_t cut = 0; cut <= message.size(); ++cut) {
      MessageReader reader(settings);
      reader.Feed(message.substr(0, cut));
      reader.Feed("");
      reader.Feed(message.substr(cut));
      const auto content = std::move(reader).Finish();
      EXPECT_FALSE(content.failure);
      EXPECT_FALSE(content.whole);
      EXPECT_EQ(content.octets, header) << "cut at " << cut;
      EXPECT_EQ(content.body.digest, expected) << "cut at " << cut;
      EXPECT_EQ(content.body.length, canonical.size());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, RelayMessage, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(RelayMessageLimits, AHeaderThatIsTooLargeIsSaidAtTheEnd) {
  MessageReader reader(Settings{});
  const std::string line(1000, 'a');
  for (int i = 0; i < 1100; ++i) reader.Feed("X: " + line + "\r\n");
  reader.Feed("\r\nHello\r\n");
  const auto content = std::move(reader).Finish();
  ASSERT_TRUE(content.failure);
  EXPECT_EQ(content.failure->reason, "HEADER_TOO_LARGE");
  EXPECT_EQ(content.failure->kind, FailureKind::kRefused);
}

TEST(RelayMessageLimits, AWholeMessageIsKeptUpToItsLimit) {
  Settings settings;
  settings.send_message = true;
  settings.message_octets = 10;
  MessageReader fits(settings), large(settings);
  for (const std::string_view part : {"A: b\r\n"sv, "\r\nHi"sv}) fits.Feed(part);
  const auto content = std::move(fits).Finish();
  EXPECT_FALSE(content.failure);
  EXPECT_TRUE(content.whole);
  EXPECT_EQ(content.octets, "A: b\r\n\r\nHi");

  for (const std::string_view part : {"A: b\r\n"sv, "\r\nHi!"sv, "more"sv}) large.Feed(part);
  const auto refused = std::move(large).Finish();
  ASSERT_TRUE(refused.failure);
  EXPECT_EQ(refused.failure->reason, "MESSAGE_TOO_LARGE");
}

}  // namespace
}  // namespace hallmark::relay
