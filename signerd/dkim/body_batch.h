#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/multi_hash.h"

namespace hallmark::dkim {

struct HashedBody {
  BodyHash hash;
  BodyFacts facts;
};

// Hashes whole bodies, many at once. A body that is canonical as it stands is hashed where it is; of any other one the
// canonical form is written out first; one that is too long for the lanes is hashed alone, slice by slice. Memory is
// kept from batch to batch. One thread at a time.
class BodyBatch {
 public:
  explicit BodyBatch(MultiHash::Engine engine = MultiHash::Engine::kBest, const CanonicalKernel& kernel = BestKernel())
      : hash_(engine), kernel_(kernel) {}

  // `octets` must stay until Hash().
  void Add(Canonicalization canonicalization, std::string_view octets);
  // One for each body, in the order of Add; and is empty again.
  std::vector<HashedBody> Hash();

 private:
  struct Entry {
    HashedBody body;
    bool hashed = false;
    const char* in_place = nullptr;  // else the canonical form is in written_
    std::size_t begin = 0, size = 0;
  };

  MultiHash hash_;
  const CanonicalKernel& kernel_;
  std::vector<Entry> entries_;
  std::string written_;
};

}  // namespace hallmark::dkim
