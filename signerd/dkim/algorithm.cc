#include "signerd/dkim/algorithm.h"

#include <algorithm>
#include <iterator>

#include "signerd/dkim/ascii.h"

namespace hallmark::dkim {
namespace {

constexpr AlgorithmInfo kAlgorithms[] = {
    {Algorithm::kRsaSha256, "rsa-sha256", "rsa", "RSA", "r", 2048, 1024},
    {Algorithm::kEd25519Sha256, "ed25519-sha256", "ed25519", "Ed25519", "e", 256, 256},
};

constexpr std::size_t RowOf(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kRsaSha256: return 0;
    case Algorithm::kEd25519Sha256: return 1;
  }
  return 0;
}
static_assert(std::all_of(std::begin(kAlgorithms), std::end(kAlgorithms),
                          [](const AlgorithmInfo& row) { return &row == kAlgorithms + RowOf(row.algorithm); }));

}  // namespace

std::span<const AlgorithmInfo> Algorithms() { return kAlgorithms; }

const AlgorithmInfo& InfoOf(Algorithm algorithm) { return kAlgorithms[RowOf(algorithm)]; }

std::optional<Algorithm> AlgorithmByName(std::string_view name) {
  for (const AlgorithmInfo& info : kAlgorithms) {
    if (EqualsIgnoringCase(info.name, name)) return info.algorithm;
  }
  return std::nullopt;
}

}  // namespace hallmark::dkim
