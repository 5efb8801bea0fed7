#pragma once

#include <string>
#include <vector>

#include "signerd/dkim/types.h"
#include "signerd/dkim/warnings.h"

namespace hallmark::pipeline {

// One signature that the token made and that verified; what the answer and the ledger say of it.
struct MadeSignature {
  std::string field;  // with its line end
  std::string selector;
  dkim::Algorithm algorithm;
  dkim::Digest body_hash;
};

// What became of a message that was signed.
struct SignedMessage {
  std::string signing_domain;             // d=
  std::vector<MadeSignature> signatures;  // one for each active key, but those of a token that is down
  std::vector<dkim::Warning> warnings;    // what may break them on their way, and what is missing beside them
};

}  // namespace hallmark::pipeline
