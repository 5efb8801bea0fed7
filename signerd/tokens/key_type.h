#pragma once

#include "hsm/link/frame.h"
#include "signerd/dkim/types.h"

namespace hallmark::tokens {

// What the link calls the keys of an algorithm.
inline link::KeyType TypeOf(dkim::Algorithm algorithm) {
  switch (algorithm) {
    case dkim::Algorithm::kRsaSha256: return link::KeyType::kRsa;
    case dkim::Algorithm::kEd25519Sha256: return link::KeyType::kEd25519;
  }
  return link::KeyType::kRsa;
}

}  // namespace hallmark::tokens
