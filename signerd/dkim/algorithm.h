#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "signerd/dkim/types.h"

// The one table of signing algorithms. A further one is an enumerator and a row here, and whatever does not compile
// without it: who treats algorithms, or the link's and PKCS#11's types of keys, differently does so by a switch over
// all of them.
namespace hallmark::dkim {

// A row.
struct AlgorithmInfo {
  Algorithm algorithm;
  std::string_view name;            // a=
  std::string_view record_name;     // k= of the key record
  std::string_view key_name;        // for people: "RSA"
  std::string_view letter;          // with which a selector of Hallmark's begins
  unsigned minimum_signing_bits;    // RFC 8301 section 3.2: signers use at least 2048
  unsigned minimum_verifying_bits;  // ... and verifiers refuse less than 1024
};

// The whole table; each Algorithm has a row.
std::span<const AlgorithmInfo> Algorithms();
// Its row.
const AlgorithmInfo& InfoOf(Algorithm algorithm);
// Without regard to case.
std::optional<Algorithm> AlgorithmByName(std::string_view name);

}  // namespace hallmark::dkim
