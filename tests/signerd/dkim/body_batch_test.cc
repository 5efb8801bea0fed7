#include "signerd/dkim/body_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "naive_canonical.h"
#include "signerd/dkim/multi_hash.h"
#include "signerd/dkim/sha256.h"

namespace dkim_test {
namespace {

using namespace hallmark::dkim;
using Engine = MultiHash::Engine;

class Engines : public testing::TestWithParam<Engine> {};

// Around the size of a block, of the padding, and of the longest job.
TEST_P(Engines, HashAsOpenSslDoes) {
  MultiHash hash(GetParam());
  std::vector<std::string> strings;
  for (const std::size_t size : {0,   1,   54,  55,   56,     57,     63,     64,     65,     119,    120,
                                 127, 128, 129, 1000, 20'000, 65'534, 65'535, 65'536, 65'537, 300'000}) {
    strings.emplace_back(size, static_cast<char>('a' + size % 26));
  }
  std::mt19937 random(5);
  for (int i = 0; i < 200; ++i) {
    std::string& text = strings.emplace_back(random() % 5000, '\0');
    for (char& c : text) c = static_cast<char>(random());
  }
  // In batches of every size, so that lanes are full, half empty and empty.
  for (std::size_t batch = 1; batch <= 70; ++batch) {
    for (std::size_t at = 0; at < strings.size(); at += batch) {
      const std::vector<std::string_view> some(strings.begin() + at,
                                               strings.begin() + std::min(at + batch, strings.size()));
      const std::vector<Digest> digests = hash.Hash(some);
      ASSERT_EQ(digests.size(), some.size());
      for (std::size_t i = 0; i < some.size(); ++i) ASSERT_EQ(digests[i], Sha256Of(some[i])) << some[i].size();
    }
  }
  EXPECT_TRUE(hash.Hash({}).empty());
}

TEST_P(Engines, HashBodiesOfABatch) {
  BodyBatch batch(GetParam());
  std::mt19937 random(6);
  for (int round = 0; round < 40; ++round) {
    std::vector<std::pair<Canonicalization, std::string>> bodies;
    for (std::size_t count = random() % 40; count != 0; --count) {
      // Clean, dirty, clean up to a point, without a final line end, empty, and too long for a job.
      std::string body;
      const std::size_t lines = random() % 10 == 0 ? random() % 3000 : random() % 300;
      for (std::size_t i = 0; i < lines; ++i) body += "The quick brown fox jumps over the lazy dog.\r\n";
      if (random() % 3 == 0) body += "dirt \t here \nand\rthere";
      if (random() % 4 == 0) body += "\r\n\r\n\r\n";
      if (random() % 5 == 0) body += " \r\n ";
      if (random() % 20 == 0) body = std::string(40'000, '\n') + "x";
      bodies.emplace_back(random() % 2 == 0 ? Canonicalization::kSimple : Canonicalization::kRelaxed, body);
    }
    for (const auto& [form, body] : bodies) batch.Add(form, body);
    const std::vector<HashedBody> hashed = batch.Hash();
    ASSERT_EQ(hashed.size(), bodies.size());
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      const auto& [form, body] = bodies[i];
      const std::string canonical = naive::Body(form == Canonicalization::kRelaxed, body);
      ASSERT_EQ(hashed[i].hash.digest, Sha256Of(canonical)) << i;
      ASSERT_EQ(hashed[i].hash.length, canonical.size());
      ASSERT_EQ(hashed[i].facts.octets, body.size());
    }
  }
}

const char* NameOf(Engine engine) {
  switch (engine) {
    case Engine::kBest: return "Best";
    case Engine::kOpenSsl: return "OpenSsl";
    case Engine::kPair: return "Pair";
    case Engine::kWide: return "Wide";
  }
  return "";
}

// An engine that this machine does not have falls back to OpenSSL, which must be right too.
INSTANTIATE_TEST_SUITE_P(All, Engines, testing::Values(Engine::kBest, Engine::kOpenSsl, Engine::kPair, Engine::kWide),
                         [](const auto& row) { return std::string(NameOf(row.param)); });

#if defined(__x86_64__)
// What Linux says of the processor, and not the library: a build without lanes is right and slow.
bool ProcessorHas(const std::vector<std::string>& wanted) {
  std::ifstream facts("/proc/cpuinfo");
  for (std::string line; std::getline(facts, line);) {
    if (!line.starts_with("flags")) continue;
    line += ' ';
    return std::all_of(wanted.begin(), wanted.end(),
                       [&](const std::string& flag) { return line.find(' ' + flag + ' ') != std::string::npos; });
  }
  return false;
}

TEST(Lanes, AreUsedWhereTheProcessorHasThem) {
  const bool pair = ProcessorHas({"sha_ni"});
  const bool wide = ProcessorHas({"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"});
  const std::string text(1000, 'x');
  const std::vector<std::string_view> strings(16, text);
  for (const auto& [engine, expected] : {std::pair(Engine::kOpenSsl, false), std::pair(Engine::kPair, pair),
                                         std::pair(Engine::kWide, wide), std::pair(Engine::kBest, pair || wide)}) {
    MultiHash hash(engine);
    hash.Hash(strings);
    EXPECT_EQ(hash.in_lanes(), expected ? strings.size() : 0) << NameOf(engine);
  }
}
#endif

}  // namespace
}  // namespace dkim_test
