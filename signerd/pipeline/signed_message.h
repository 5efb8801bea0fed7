#pragma once

#include <string>
#include <vector>

#include "signerd/dkim/types.h"
#include "signerd/dkim/warnings.h"

namespace hallmark::pipeline {

struct MadeSignature {
  std::string field;  // with its line end
  std::string selector;
  dkim::Algorithm algorithm;
  dkim::Digest body_hash;
};

struct SignedMessage {
  std::string signing_domain;
  std::vector<MadeSignature> signatures;  // one for each active key, but those of a token that is down
  std::vector<dkim::Warning> warnings;
};

}  // namespace hallmark::pipeline
