#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// SHA-256 of many octet strings at once, which is several times as fast as one after the other where the processor has
// vectors to spare: by intel-ipsec-mb on amd64, chosen at run time; by OpenSSL everywhere else, for few strings and for
// long ones. Both give the same. One thread at a time; an object keeps some 100 kB, so it is made once and reused.
class MultiHash {
 public:
  enum class Engine : std::uint8_t { kBest, kOpenSsl, kPair, kWide };

  // kBest chooses for each call by the number of strings. The others are for tests and benchmarks; kPair and kWide fall
  // back to OpenSSL where Has() says no.
  explicit MultiHash(Engine engine = Engine::kBest);
  ~MultiHash();
  MultiHash(MultiHash&&) noexcept;

  static bool Has(Engine engine);

  // One digest for each string, in order.
  std::vector<Digest> Hash(std::span<const std::string_view> strings);
  // How many of them were not left to OpenSSL, since it was made.
  std::uint64_t in_lanes() const { return in_lanes_; }

 private:
  class Lanes;
  Lanes* Choose(std::size_t count);

  const Engine engine_;
  std::unique_ptr<Lanes> pair_, wide_;
  std::uint64_t in_lanes_ = 0;
};

}  // namespace hallmark::dkim
