#include "signerd/dkim/canonical_kernel.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include "naive_canonical.h"
#include "signerd/dkim/body_canonicalizer.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark::dkim;
using namespace std::literals;

struct Outcome {
  std::string out;
  BodyFacts facts;
};

// Pieces are copied to memory of their own, so that a sanitizer sees a read beyond them.
template <class NextSize>
Outcome Canonicalize(const CanonicalKernel& kernel, Canonicalization form, std::string_view body, NextSize next_size) {
  Outcome outcome;
  auto sink = [&](std::string_view octets) { outcome.out.append(octets); };
  BodyCanonicalizer canonicalizer(form, kernel);
  while (!body.empty()) {
    const std::size_t size = std::min<std::size_t>(next_size(), body.size());
    const std::vector<char> piece(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
    canonicalizer.Push({piece.data(), piece.size()}, sink);
    body.remove_prefix(size);
  }
  canonicalizer.Finish(sink);
  outcome.facts = canonicalizer.facts();
  return outcome;
}

Outcome Whole(const CanonicalKernel& kernel, Canonicalization form, std::string_view body) {
  return Canonicalize(kernel, form, body, [&] { return body.size(); });
}

bool SameFacts(const BodyFacts& a, const BodyFacts& b) {
  return a.lines.bare_cr == b.lines.bare_cr && a.lines.bare_lf == b.lines.bare_lf &&
         a.ends_without_crlf == b.ends_without_crlf && a.octets == b.octets && a.longest_line == b.longest_line;
}

class Level : public testing::TestWithParam<CanonicalKernel> {
 protected:
  // As the RFC says and as the scalar kernel does, whole and in pieces.
  void Check(std::string_view body, std::mt19937& random) {
    for (const auto form : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
      const Outcome wanted = Whole(kScalarKernel, form, body);
      ASSERT_EQ(wanted.out, naive::Body(form == Canonicalization::kRelaxed, body));
      const Outcome whole = Whole(GetParam(), form, body);
      ASSERT_EQ(Escaped(whole.out), Escaped(wanted.out));
      ASSERT_TRUE(SameFacts(whole.facts, wanted.facts)) << whole.facts.longest_line << " " << wanted.facts.longest_line;
      const Outcome pieces = Canonicalize(GetParam(), form, body, [&] { return 1 + random() % 200; });
      ASSERT_EQ(Escaped(pieces.out), Escaped(wanted.out));
      ASSERT_TRUE(SameFacts(pieces.facts, wanted.facts));
    }
  }
};

TEST_P(Level, IsAsTheScalarOneOnTheCorpus) {
  std::mt19937 random(1);
  std::size_t files = 0;
  for (const char* folder : {"corpus", "vectors"}) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::filesystem::path(HALLMARK_TESTS_DIR) / folder)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string text((std::istreambuf_iterator<char>(file)), {});
      Check(text, random);
      ++files;
    }
  }
  EXPECT_GT(files, 80u);
}

TEST_P(Level, IsAsTheScalarOneOnRandomInput) {
  std::mt19937 random(2);
  // From hardly anything but what matters to hardly anything that does.
  for (const std::size_t clean : {1, 4, 20, 80, 300}) {
    for (int round = 0; round < 60; ++round) {
      std::string body;
      const std::size_t size = random() % 2000;
      while (body.size() < size) {
        body.append(random() % clean, 'x');
        constexpr std::string_view kPieces[] = {" ",  "  ", "\t",    "\r\n", "\r\n\r\n",
                                                "\r", "\n", " \r\n", "\0"sv, "\xff"};
        body += kPieces[random() % std::size(kPieces)];
      }
      Check(body, random);
    }
  }
}

// What matters, at every place of a vector and on both sides of its borders.
TEST_P(Level, IsAsTheScalarOneAtEveryAlignment) {
  std::mt19937 random(3);
  for (const std::string_view trap : {" \r\n"sv, "  x"sv, "\tx"sv, "\rx"sv, "\nx"sv, "\r\n\r\n"sv, " \t \r\n \r\n"sv,
                                      "\r"sv, " "sv, "\r\r\n"sv, "\n\r"sv, "x\r\n x"sv}) {
    for (std::size_t before = 0; before <= 130; ++before) {
      for (const std::size_t after : {0, 1, 64}) {
        Check(std::string(before, 'x') + std::string(trap) + std::string(after, 'x'), random);
      }
    }
  }
}

// The slices that the canonicalizer cuts end in the middle of everything.
TEST_P(Level, IsAsTheScalarOneAtTheBorderOfSlices) {
  std::mt19937 random(4);
  for (const std::string_view trap : {"\r\n"sv, " \r\n"sv, "  "sv, "\r\r"sv, "\n\n"sv, "\r\n\r\n\r\n"sv}) {
    for (std::size_t before = 8189; before <= 8195; ++before) {
      Check(std::string(before, 'x') + std::string(trap) + std::string(100, 'x'), random);
      Check(std::string(before, ' ') + std::string(trap) + "x", random);
      Check(std::string(before, '\n') + std::string(trap) + "x", random);
    }
  }
}

TEST_P(Level, IsTheSameAtEveryCut) {
  const std::string_view body =
      "a \r\n\r\n\t b\r\r\n  c\n\n d \t\r\n0123456789 0123456789 0123456789 0123456789 0123456789 1\r\n \r\n";
  for (const auto form : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
    const std::string wanted = naive::Body(form == Canonicalization::kRelaxed, body);
    for (std::size_t first = 0; first <= body.size(); ++first) {
      for (std::size_t second = first; second <= body.size(); ++second) {
        std::string out;
        auto sink = [&](std::string_view octets) { out.append(octets); };
        BodyCanonicalizer canonicalizer(form, GetParam());
        canonicalizer.Push(body.substr(0, first), sink);
        canonicalizer.Push(body.substr(first, second - first), sink);
        canonicalizer.Push(body.substr(second), sink);
        canonicalizer.Finish(sink);
        ASSERT_EQ(Escaped(out), Escaped(wanted)) << first << " " << second;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Level, testing::ValuesIn(Kernels().begin(), Kernels().end()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Levels, ScalarIsFirstAndTheBestIsLast) {
  EXPECT_STREQ(Kernels().front().name, "scalar");
  EXPECT_STREQ(Kernels().back().name, BestKernel().name);
  std::set<std::string> names;
  for (const CanonicalKernel& kernel : Kernels()) EXPECT_TRUE(names.insert(kernel.name).second) << kernel.name;
}

}  // namespace
}  // namespace dkim_test
