#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "signerd/dkim/body_canonicalizer.h"
#include "signerd/dkim/sha256.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

struct BodyHash {
  Digest digest{};
  std::uint64_t length = 0;  // canonical octets that were hashed
};

// Hashes one body in canonical form as it arrives (RFC 6376 section 3.7). Input may be cut anywhere; memory is
// constant. Not thread-safe; distinct objects are independent. Does not fail.
class BodyHasher {
 public:
  // `limit` is that of l=: no more canonical octets than these are hashed.
  explicit BodyHasher(Canonicalization canonicalization, std::optional<std::uint64_t> limit = {});

  void Push(std::string_view chunk);
  // Once.
  BodyHash Finish();
  // Whole after Finish().
  const BodyFacts& facts() const { return canonicalizer_.facts(); }
  // Canonical octets of the whole body, also beyond the limit.
  std::uint64_t canonical_octets() const { return canonical_octets_; }

 private:
  void Take(std::string_view octets);
  void Flush();

  BodyCanonicalizer canonicalizer_;
  const std::optional<std::uint64_t> limit_;
  Sha256 hash_;
  std::uint64_t hashed_ = 0, canonical_octets_ = 0;
  std::size_t used_ = 0;
  std::array<char, 4096> buffer_;  // joins short pieces: a call of OpenSSL for each would cost more than the hash
};

}  // namespace hallmark::dkim
