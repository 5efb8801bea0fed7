#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "firmware/health/report.h"
#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/tokens/token_set.h"

namespace hallmark::health {

// Whether a token signs: a real signature over random octets, made on the way that messages go and verified with the
// recorded public part. One thread at a time; calls wait for the token.
class SelfTest {
 public:
  using KeyPointer = std::shared_ptr<const snapshot::Key>;
  struct Parts {
    tokens::TokenSet& tokens;
    const snapshot::Current& snapshot;
    // The key of the ledger's checkpoints, in whatever token; null where there is none.
    std::function<KeyPointer()> checkpoint_key;
    const Clock& clock;
  };
  explicit SelfTest(const Parts& parts) : parts_(parts) {}

  // The reading "signing/TOKEN". kFailed: nothing can be signed in this token. kWarning: it signs, but not with every
  // key that was tried, or it has signed before and is too busy to tell. kUnknown: it has no key of ours (kNoKey), or
  // has not signed yet and is too busy to tell. A sick token of a group is let back where it signs, and one that does
  // not is sick. Where all that it signs is wrong, it is distrusted; see TokenSet.
  Reading Run(const tokens::TokenFacts& token);

 private:
  // Some ACTIVE keys of the token's group, and the checkpoints' key behind them.
  std::vector<KeyPointer> KeysOf(const std::string& group) const;
  Status SignWith(const KeyPointer& key, const std::string& token) const;

  const Parts parts_;
  std::set<std::string> signed_;  // the tokens with a good test signature, since the start
};

}  // namespace hallmark::health
