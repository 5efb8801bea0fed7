#pragma once

#include <string>
#include <vector>

#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/header.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// What may break a signature on its way, or should be known.
enum class WarningCode : std::uint8_t {
  kLongLine,  // over 998 octets: a later hop folds it
  kBareLf,    // counted as CRLF
  kBareCr,
  kNoFinalCrlf,       // the body's last line has no line end: a later hop adds it
  kBodyLengthTag,     // l= lets anyone append
  kTightAddressList,  // "a@x,b@y": some MTAs put a space in
  kEarlyExpiry,       // x= comes before mail may leave its last queue
  kFewerSignatures,   // a token is down: some keys of the domain did not sign
};

struct Warning {
  WarningCode code;
  std::string message;
};

// At most ten of each code. `body` is null where only its hash is known.
std::vector<Warning> FindWarnings(const Header& header, const BodyFacts* body, const SigningProfile& profile);

}  // namespace hallmark::dkim
