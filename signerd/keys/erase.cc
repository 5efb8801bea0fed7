#include "signerd/keys/erase.h"

#include <set>

#include "signerd/keys/noted_pairs.h"

namespace hallmark::keys {
namespace {

constexpr std::int64_t kAll = -1;  // SQLite: no limit

// What is to be destroyed; a pair that is planned or noted has no public part, for it may not be there.
struct Pair {
  std::string token;
  Bytes cka_id, spki;
};

Result<std::vector<Pair>> KnownPairs(store::Store& store) {
  std::vector<Pair> pairs;
  const auto keys = store.ListKeys("", {"", kAll});
  if (!keys) return keys.error();
  for (const snapshot::Key& key : *keys) {
    if (key.state != snapshot::KeyState::kDestroyed) {
      pairs.push_back({key.token, key.cka_id, key.public_key->Spki()});
    }
  }
  const auto domains = store.ListDomains({"", kAll});
  if (!domains) return domains.error();
  for (const store::DomainRow& domain : *domains) {
    const auto life = store.GetDomainLife(domain.name);
    if (!life) return life.error();
    for (const store::PlannedKey& planned : life->planned) pairs.push_back({planned.token, planned.cka_id, {}});
  }
  const auto noted = ListNotedPairs(store);
  if (!noted) return noted.error();
  for (const NotedPair& pair : *noted) pairs.push_back({pair.token, pair.cka_id, {}});
  const auto ledger = store.GetLedgerKey();
  if (!ledger) return ledger.error();
  if (*ledger) pairs.push_back({(*ledger)->token, (*ledger)->cka_id, (*ledger)->spki});
  return pairs;
}

// kKeyMissing is an answer too.
Status Answers(Signer& signer, const Pair& pair) {
  if (!signer.HasToken(pair.token)) {
    return MakeError(Reason::kStateConflict, "the token " + pair.token +
                                                 " has keys, and is not in the configuration any more: put it back, or "
                                                 "the keys stay in it");
  }
  for (const std::string& token : signer.MembersOf(pair.token)) {
    const auto found = signer.Find(token, pair.cka_id);
    if (!found && found.error().reason != Reason::kKeyMissing) return found.error();
  }
  return Ok();
}

Status Destroy(Signer& signer, const Pair& pair) {
  if (!pair.spki.empty()) return signer.Destroy(pair.token, pair.cka_id, pair.spki);
  return DestroyUnrecorded(signer, signer.MembersOf(pair.token), pair.cka_id);
}

}  // namespace

Result<std::size_t> EraseKeys(store::Store& store, Signer& signer) {
  const auto pairs = KnownPairs(store);
  if (!pairs) return pairs.error();
  std::set<std::string> asked;
  for (const Pair& pair : *pairs) {
    if (!asked.insert(pair.token).second) continue;
    const Status answers = Answers(signer, pair);
    if (!answers) return answers.error();
  }
  for (const Pair& pair : *pairs) {
    const Status destroyed = Destroy(signer, pair);
    if (!destroyed) return destroyed.error();
  }
  return pairs->size();
}

}  // namespace hallmark::keys
