#include "signerd/dkim/algorithm.h"

#include "signerd/dkim/ascii.h"

namespace hallmark::dkim {
namespace {

// In the order of the enumerators.
constexpr AlgorithmInfo kAlgorithms[] = {
    {Algorithm::kRsaSha256, "rsa-sha256", "rsa", 2048, 1024},
    {Algorithm::kEd25519Sha256, "ed25519-sha256", "ed25519", 256, 256},
};

}  // namespace

std::span<const AlgorithmInfo> Algorithms() { return kAlgorithms; }

const AlgorithmInfo& InfoOf(Algorithm algorithm) { return kAlgorithms[static_cast<std::size_t>(algorithm)]; }

std::optional<Algorithm> AlgorithmByName(std::string_view name) {
  for (const AlgorithmInfo& info : kAlgorithms) {
    if (EqualsIgnoringCase(info.name, name)) return info.algorithm;
  }
  return std::nullopt;
}

}  // namespace hallmark::dkim
