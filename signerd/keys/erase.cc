#include "signerd/keys/erase.h"

#include <algorithm>
#include <map>

#include "firmware/runtime/encoding.h"
#include "signerd/keys/noted_pairs.h"

namespace hallmark::keys {
namespace {

constexpr std::int64_t kAll = -1;  // SQLite: no limit

// What is to be destroyed; a pair that is planned or noted has no public part, for it may not be there.
struct Pair {
  std::string token, name;
  Bytes cka_id, spki;
};

std::string NameOf(const std::string& selector, const std::string& domain) {
  return selector + "._domainkey." + domain;
}

Result<std::vector<Pair>> KnownPairs(store::Store& store) {
  std::vector<Pair> pairs;
  const auto keys = store.ListKeys("", {"", kAll});
  if (!keys) return keys.error();
  for (const snapshot::Key& key : *keys) {
    if (key.state != snapshot::KeyState::kDestroyed) {
      pairs.push_back({key.token, NameOf(key.selector, key.domain), key.cka_id, key.public_key->Spki()});
    }
  }
  const auto domains = store.ListDomains({"", kAll});
  if (!domains) return domains.error();
  for (const store::DomainRow& domain : *domains) {
    const auto life = store.GetDomainLife(domain.name);
    if (!life) return life.error();
    for (const store::PlannedKey& planned : life->planned) {
      pairs.push_back({planned.token, NameOf(planned.selector, domain.name), planned.cka_id, {}});
    }
  }
  const auto noted = ListNotedPairs(store);
  if (!noted) return noted.error();
  for (const NotedPair& pair : *noted) {
    pairs.push_back({pair.token, NameOf(pair.selector, pair.domain), pair.cka_id, {}});
  }
  const auto ledger = store.GetLedgerKey();
  if (!ledger) return ledger.error();
  if (*ledger) pairs.push_back({(*ledger)->token, "the ledger's key", (*ledger)->cka_id, (*ledger)->spki});
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

// Whether each of the tokens answers; an error is one that must, and does not.
Result<std::map<std::string, Status>> AskTokens(Signer& signer, const std::vector<Pair>& pairs,
                                                const std::set<std::string>& leave) {
  std::map<std::string, Status> answers;
  for (const Pair& pair : pairs) {
    const auto [answer, is_new] = answers.try_emplace(pair.token, Ok());
    if (is_new) answer->second = Answers(signer, pair);
    if (!answer->second && !leave.contains(pair.token)) return answer->second.error();
  }
  return answers;
}

}  // namespace

Status CheckLeave(store::Store& store, const std::set<std::string>& leave) {
  const auto pairs = leave.empty() ? Result<std::vector<Pair>>(std::vector<Pair>()) : KnownPairs(store);
  if (!pairs) return pairs.error();
  for (const std::string& token : leave) {
    const bool has_keys =
        std::any_of(pairs->begin(), pairs->end(), [&](const Pair& pair) { return pair.token == token; });
    if (!has_keys)
      return MakeError(Reason::kInvalidArgument, "leave_keys_in: no keys are recorded in a token " + token);
  }
  return Ok();
}

Result<Erased> EraseKeys(store::Store& store, Signer& signer, const std::set<std::string>& leave) {
  const auto pairs = KnownPairs(store);
  if (!pairs) return pairs.error();
  const auto answers = AskTokens(signer, *pairs, leave);
  if (!answers) return answers.error();
  Erased erased;
  for (const Pair& pair : *pairs) {
    const Status& answer = answers->at(pair.token);
    const Status destroyed = answer ? Destroy(signer, pair) : answer;
    if (!destroyed && !leave.contains(pair.token)) return destroyed.error();
    if (destroyed) {
      ++erased.destroyed;
    } else {
      erased.left.push_back(pair.token + ": " + pair.name + ", CKA_ID " + HexEncode(pair.cka_id) + ": " +
                            destroyed.error().message);
    }
  }
  return erased;
}

}  // namespace hallmark::keys
