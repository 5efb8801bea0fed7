#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "signerd/keys/key_manager.h"

namespace hallmark::keys {

// A pair that is about to be put into a token at an operator's word. Until it is recorded it is noted in the store, as
// a planned event of its domain, which key history shows: what a crash leaves in a token is found again.
struct NotedPair {
  std::string domain, selector;
  std::string token;  // or group
  Bytes cka_id;
};

// A selector has one note at most; Store::ForgetPlanned takes it away.
Status NotePair(store::Store& store, const NotedPair& pair, std::chrono::sys_seconds now);
Result<std::optional<NotedPair>> NotedPairOf(store::Store& store, const std::string& domain,
                                             const std::string& selector);
Result<std::vector<NotedPair>> ListNotedPairs(store::Store& store);

// Destroys a pair that no record names, whatever its public part is, in each of `tokens`. Success where there is none.
Status DestroyUnrecorded(Signer& signer, const std::vector<std::string>& tokens, const Bytes& cka_id);

}  // namespace hallmark::keys
