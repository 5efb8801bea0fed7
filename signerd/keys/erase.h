#pragma once

#include <set>
#include <string>
#include <vector>

#include "signerd/keys/key_manager.h"

namespace hallmark::keys {

struct Erased {
  std::size_t destroyed = 0;      // pairs, of which some may not have been there any more
  std::vector<std::string> left;  // what stays: "TOKEN: SELECTOR._domainkey.DOMAIN, CKA_ID HEX: why"
};

// Whether each of these tokens has keys, by the names that keys are recorded with: kInvalidArgument otherwise.
Status CheckLeave(store::Store& store, const std::set<std::string>& leave);

// Destroys every pair that the store knows of, in every token: keys of domains, planned ones that may have been made,
// and the one that signs the ledger's checkpoints. Nothing is destroyed where a token does not answer, or is not in the
// configuration any more; where one fails in the middle the rest stays, and it can be repeated. In the tokens of
// `leave` what cannot be destroyed is left, whatever the reason. Calls wait; nothing else makes keys meanwhile.
Result<Erased> EraseKeys(store::Store& store, Signer& signer, const std::set<std::string>& leave = {});

}  // namespace hallmark::keys
