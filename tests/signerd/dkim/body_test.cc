#include <gtest/gtest.h>

#include <random>

#include "firmware/runtime/encoding.h"
#include "naive_canonical.h"
#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/canonical.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark::dkim;
using namespace std::literals;

constexpr auto kSimple = Canonicalization::kSimple;
constexpr auto kRelaxed = Canonicalization::kRelaxed;

std::string InPieces(Canonicalization canonicalization, const std::vector<std::string_view>& pieces) {
  std::string out;
  auto sink = [&out](std::string_view octets) { out.append(octets); };
  BodyCanonicalizer canonicalizer(canonicalization);
  for (const std::string_view piece : pieces) canonicalizer.Push(piece, sink);
  canonicalizer.Finish(sink);
  return out;
}

// Each piece in memory of its own, so that a sanitizer sees a read beyond it.
std::string ByOctets(Canonicalization canonicalization, std::string_view body, std::size_t size) {
  std::string out;
  auto sink = [&out](std::string_view octets) { out.append(octets); };
  BodyCanonicalizer canonicalizer(canonicalization);
  for (std::size_t at = 0; at < body.size(); at += size) {
    const std::vector<char> piece(body.begin() + at, body.begin() + std::min(at + size, body.size()));
    canonicalizer.Push({piece.data(), piece.size()}, sink);
  }
  canonicalizer.Finish(sink);
  return out;
}

struct BodyCase {
  const char* name;
  std::string_view in, simple, relaxed;
};

constexpr BodyCase kBodies[] = {
    {"Nothing", "", "\r\n", ""},
    {"OneLineEnd", "\r\n", "\r\n", ""},
    {"BlankLinesOnly", "\r\n\r\n\r\n\r\n\r\n", "\r\n", ""},
    {"OneLine", "a\r\n", "a\r\n", "a\r\n"},
    {"NoFinalLineEnd", "a", "a\r\n", "a\r\n"},
    {"NoFinalLineEndAfterALine", "a\r\nb", "a\r\nb\r\n", "a\r\nb\r\n"},
    {"TrailingBlankLinesGo", "a\r\n\r\n\r\n", "a\r\n", "a\r\n"},
    {"InnerBlankLinesStay", "a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n"},
    {"LeadingBlankLinesStay", "\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
    {"SpacesCollapse", "a \t b \r\n", "a \t b \r\n", "a b\r\n"},
    {"OneTabBecomesASpace", "a\tb\r\n", "a\tb\r\n", "a b\r\n"},
    {"SpaceAtLineEndGoes", "a \r\nb\t\r\n", "a \r\nb\t\r\n", "a\r\nb\r\n"},
    {"SpaceAtLineStartIsOne", " \t a\r\n", " \t a\r\n", " a\r\n"},
    {"SpaceAtTheEndWithoutLineEnd", "a \t", "a \t\r\n", "a\r\n"},
    {"OnlySpace", " \t \r\n", " \t \r\n", ""},
    {"OnlySpaceWithoutLineEnd", " ", " \r\n", ""},
    {"SpaceLineInTheMiddleStays", "a\r\n \t\r\nb\r\n", "a\r\n \t\r\nb\r\n", "a\r\n\r\nb\r\n"},
    {"SpaceLinesAtTheEndGo", "a\r\n \r\n\t\r\n \t \r\n", "a\r\n \r\n\t\r\n \t \r\n", "a\r\n"},
    {"SpaceLineBetweenBlankLinesAtTheEnd", "a\r\n\r\n \r\n\r\n", "a\r\n\r\n \r\n", "a\r\n"},
    {"ExampleOfTheRfc", " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
    {"FormFeedIsNoSpace", "a\f\r\n\fb \f c\f\r\n", "a\f\r\n\fb \f c\f\r\n", "a\f\r\n\fb \f c\f\r\n"},
    {"VerticalTabIsNoSpace", "a\v\v b\v\r\n", "a\v\v b\v\r\n", "a\v\v b\v\r\n"},
    {"NoBreakSpaceIsNoSpace", "a\xa0\xa0\r\nb\xc2\xa0\r\n", "a\xa0\xa0\r\nb\xc2\xa0\r\n", "a\xa0\xa0\r\nb\xc2\xa0\r\n"},
    {"EightBit", "J\xf6rg \xe4\xbd\xa0  \xff\r\n", "J\xf6rg \xe4\xbd\xa0  \xff\r\n", "J\xf6rg \xe4\xbd\xa0 \xff\r\n"},
    {"Nul", "\0a\0\0 \0\r\n\0"sv, "\0a\0\0 \0\r\n\0\r\n"sv, "\0a\0\0 \0\r\n\0\r\n"sv},
    {"OnlyNul", "\0"sv, "\0\r\n"sv, "\0\r\n"sv},
    {"DotsAreText", "..\r\n.\r\n. a\r\n", "..\r\n.\r\n. a\r\n", "..\r\n.\r\n. a\r\n"},
    {"BareLf", "a\nb\n\nc\n\n\n", "a\r\nb\r\n\r\nc\r\n", "a\r\nb\r\n\r\nc\r\n"},
    {"BareCr", "a\rb\r\rc\r\r\r", "a\r\nb\r\n\r\nc\r\n", "a\r\nb\r\n\r\nc\r\n"},
    {"OneBareCr", "\r", "\r\n", ""},
    {"OneBareLf", "\n", "\r\n", ""},
    {"CrBeforeCrlfIsALineEndOfItsOwn", "a\r\r\nb\r\n", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
    {"LfBeforeCr", "a\n\rb", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
    {"CrlfLf", "a\r\n\nb\r\n", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
    {"BareCrLast", "a\r", "a\r\n", "a\r\n"},
    {"SpaceBeforeBareLf", "a \nb\t\rc", "a \r\nb\t\r\nc\r\n", "a\r\nb\r\nc\r\n"},
    {"FieldLikeLines", "From: a@example.com\r\n\tfold\r\n", "From: a@example.com\r\n\tfold\r\n",
     "From: a@example.com\r\n fold\r\n"},
    {"LongerThanAWord", "0123456789 0123456789  0123456789\t0123456789 0123456789 \r\n",
     "0123456789 0123456789  0123456789\t0123456789 0123456789 \r\n",
     "0123456789 0123456789 0123456789 0123456789 0123456789\r\n"},
};

class Body : public testing::TestWithParam<BodyCase> {};

TEST_P(Body, IsCanonical) {
  const BodyCase& row = GetParam();
  EXPECT_EQ(Escaped(CanonicalBody(kSimple, row.in)), Escaped(row.simple));
  EXPECT_EQ(Escaped(CanonicalBody(kRelaxed, row.in)), Escaped(row.relaxed));
  EXPECT_EQ(naive::Body(false, row.in), row.simple);
  EXPECT_EQ(naive::Body(true, row.in), row.relaxed);
}

TEST_P(Body, IsTheSameAtEveryCut) {
  const BodyCase& row = GetParam();
  for (std::size_t first = 0; first <= row.in.size(); ++first) {
    for (std::size_t second = first; second <= row.in.size(); ++second) {
      const std::vector<std::string_view> pieces = {row.in.substr(0, first), row.in.substr(first, second - first),
                                                    row.in.substr(second)};
      ASSERT_EQ(InPieces(kSimple, pieces), row.simple) << "cut at " << first << " and " << second;
      ASSERT_EQ(InPieces(kRelaxed, pieces), row.relaxed) << "cut at " << first << " and " << second;
    }
  }
  for (std::size_t size = 1; size < 20; ++size) {
    ASSERT_EQ(ByOctets(kSimple, row.in, size), row.simple) << "pieces of " << size;
    ASSERT_EQ(ByOctets(kRelaxed, row.in, size), row.relaxed) << "pieces of " << size;
  }
}

TEST_P(Body, HashIsOfTheCanonicalForm) {
  const BodyCase& row = GetParam();
  for (const auto& [canonicalization, expected] : {std::pair(kSimple, row.simple), std::pair(kRelaxed, row.relaxed)}) {
    const BodyHash hash = HashBody(canonicalization, row.in);
    EXPECT_EQ(hash.digest, Sha256Of(expected));
    EXPECT_EQ(hash.length, expected.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Rfc6376, Body, testing::ValuesIn(kBodies),
                         [](const auto& row) { return std::string(row.param.name); });

// Every body of up to seven octets of the alphabet in which the rules speak.
TEST(AllShortBodies, AreAsTheRfcSays) {
  constexpr std::string_view kAlphabet = "a \t\r\n";
  for (std::size_t size = 0; size <= 7; ++size) {
    std::vector<std::size_t> digits(size);
    while (true) {
      std::string body;
      for (const std::size_t digit : digits) body += kAlphabet[digit];
      const std::string simple = naive::Body(false, body), relaxed = naive::Body(true, body);
      for (std::size_t cut = 0; cut <= size; ++cut) {
        const std::string_view view = body;
        ASSERT_EQ(InPieces(kSimple, {view.substr(0, cut), view.substr(cut)}), simple)
            << Escaped(body) << " cut at " << cut;
        ASSERT_EQ(InPieces(kRelaxed, {view.substr(0, cut), view.substr(cut)}), relaxed)
            << Escaped(body) << " cut at " << cut;
      }
      std::size_t place = 0;
      while (place < size && ++digits[place] == kAlphabet.size()) digits[place++] = 0;
      if (place == size) break;
    }
  }
}

TEST(RandomBodies, AreTheSameInPiecesOfAnySize) {
  std::mt19937 random(6376);
  constexpr std::string_view kAlphabet = "aaaaaaaaaaaabcdefghijklmno      \t\t\r\n\r\n\r\r\n\n\0\xff\v.";
  for (int round = 0; round < 300; ++round) {
    std::string body;
    const std::size_t size = random() % 3000;
    while (body.size() < size) {
      const std::size_t at = random() % kAlphabet.size();
      body += at % 7 == 0 ? "\r\n"sv : at % 11 == 0 ? "twenty-four clean octets"sv : kAlphabet.substr(at, 1);
    }
    const std::string simple = naive::Body(false, body), relaxed = naive::Body(true, body);
    std::vector<std::string_view> pieces;
    for (std::string_view rest = body; !rest.empty(); rest.remove_prefix(pieces.back().size())) {
      pieces.push_back(rest.substr(0, random() % 100));
    }
    ASSERT_EQ(InPieces(kSimple, pieces), simple);
    ASSERT_EQ(InPieces(kRelaxed, pieces), relaxed);
    ASSERT_EQ(CanonicalBody(kSimple, body), simple);
    ASSERT_EQ(CanonicalBody(kRelaxed, body), relaxed);
  }
}

TEST(BodyHash, OfAnEmptyBodyIsWellKnown) {
  for (const char* body : {"", "\r\n", "\r\n\r\n\r\n"}) {
    EXPECT_EQ(hallmark::Base64Encode(HashBody(kRelaxed, body).digest), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    EXPECT_EQ(hallmark::Base64Encode(HashBody(kSimple, body).digest), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
  }
}

TEST(BodyHash, LimitCountsCanonicalOctets) {
  const std::string_view body = "a  b \r\n\r\nc\r\n\r\n";  // relaxed: "a b\r\n\r\nc\r\n"
  for (std::uint64_t limit = 0; limit < 14; ++limit) {
    BodyHasher hasher(kRelaxed, limit);
    for (const char& c : body) hasher.Push({&c, 1});
    const BodyHash hash = hasher.Finish();
    EXPECT_EQ(hash.digest, Sha256Of("a b\r\n\r\nc\r\n"sv.substr(0, limit))) << limit;
    EXPECT_EQ(hash.length, std::min<std::uint64_t>(limit, 10)) << limit;
    EXPECT_EQ(hasher.canonical_octets(), 10u);
  }
}

// Larger than every buffer, in few and in many lines.
TEST(BodyHash, OfLargeBodies) {
  const std::string unit = "The quick brown fox jumps  over the lazy dog \t and back again.";
  std::string one_line, lines, blank;
  while (one_line.size() < (5 << 20)) one_line += unit;
  while (lines.size() < (5 << 20)) lines += unit + " \r\n";
  blank = "a" + std::string(3 << 20, '\n') + "b";
  for (const std::string* body : {&one_line, &lines, &blank}) {
    for (const auto canonicalization : {kSimple, kRelaxed}) {
      const Digest expected = Sha256Of(naive::Body(canonicalization == kRelaxed, *body));
      for (const std::size_t size : {1u, 7u, 4095u, 4096u, 65536u, 1u << 30}) {
        BodyHasher hasher(canonicalization);
        for (std::size_t at = 0; at < body->size(); at += size) hasher.Push(std::string_view(*body).substr(at, size));
        ASSERT_EQ(hasher.Finish().digest, expected) << size;
      }
    }
  }
}

struct FactsCase {
  const char* name;
  std::string_view in;
  std::uint64_t bare_lf, bare_cr;
  bool ends_without_crlf;
  std::uint64_t longest_line;
};

constexpr FactsCase kFacts[] = {
    {"Nothing", "", 0, 0, false, 0},
    {"Clean", "ab\r\nabc\r\n\r\n", 0, 0, false, 3},
    {"NoFinalLineEnd", "ab\r\nabcd", 0, 0, true, 4},
    {"BareLf", "a\nb\r\n\n", 2, 0, false, 1},
    {"BareCr", "a\rb\r\n\r", 0, 2, false, 1},
    {"BareCrBeforeCrlf", "a\r\r\n", 0, 1, false, 1},
    {"LfCr", "a\n\r", 1, 1, false, 1},
    {"SpaceCounts", "a   \t\r\n", 0, 0, false, 5},
    {"SpaceLast", "a\r\n  ", 0, 0, true, 2},
};

class Facts : public testing::TestWithParam<FactsCase> {};

TEST_P(Facts, AreTheSameAtEveryCut) {
  const FactsCase& row = GetParam();
  for (const auto canonicalization : {kSimple, kRelaxed}) {
    for (std::size_t cut = 0; cut <= row.in.size(); ++cut) {
      BodyHasher hasher(canonicalization);
      hasher.Push(row.in.substr(0, cut));
      hasher.Push(row.in.substr(cut));
      hasher.Finish();
      const BodyFacts& facts = hasher.facts();
      EXPECT_EQ(facts.lines.bare_lf, row.bare_lf) << cut;
      EXPECT_EQ(facts.lines.bare_cr, row.bare_cr) << cut;
      EXPECT_EQ(facts.ends_without_crlf, row.ends_without_crlf) << cut;
      EXPECT_EQ(facts.longest_line, row.longest_line) << cut;
      EXPECT_EQ(facts.octets, row.in.size()) << cut;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Facts, testing::ValuesIn(kFacts),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace dkim_test
