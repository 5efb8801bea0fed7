#pragma once

#include "signerd/keys/key_manager.h"

namespace hallmark::keys {

// Destroys every pair that the store knows of, in every token: keys of domains, planned ones that may have been made,
// and the one that signs the ledger's checkpoints. Gives how many there were. Nothing is destroyed where a token does
// not answer, or is not in the configuration any more; where one fails in the middle the rest stays, and it can be
// repeated. Calls wait; nothing else makes keys meanwhile.
Result<std::size_t> EraseKeys(store::Store& store, Signer& signer);

}  // namespace hallmark::keys
