#include <algorithm>
#include <optional>

#include "signerd/dkim/public_key.h"
#include "signerd/keys/key_manager.h"

namespace hallmark::keys {

Result<ImportPlan> KeyManager::BeginImport(const std::string& token) {
  const auto where = ChooseToken(token);
  if (!where) return where.error();
  ImportPlan plan{*where, {}, {}};
  std::optional<Error> error;
  for (const std::string& member : signer_.MembersOf(*where)) {
    auto spki = signer_.BeginImport(member);
    if (spki) {
      plan.members.push_back({member, std::move(*spki)});
    } else {
      plan.unable.emplace_back(member, spki.error().message);
      error = spki.error();
    }
  }
  if (plan.members.empty()) return *error;
  return plan;
}

Result<snapshot::Key> KeyManager::Import(const std::string& domain, const std::string& selector,
                                         const std::string& token, const std::vector<WrappedKey>& copies) {
  const auto exists = store_.GetDomain(domain);
  if (!exists) return exists.error();
  if (selector.empty()) return MakeError(Reason::kInvalidArgument, "name the selector of the key");
  const auto chosen = ChooseSelector(domain, selector, dkim::Algorithm::kRsaSha256);
  if (!chosen) return chosen.error();
  const auto where = ChooseToken(token);
  if (!where) return where.error();
  const auto members = signer_.MembersOf(*where);
  for (const WrappedKey& copy : copies) {
    if (copy.token.empty() && members.size() == 1) continue;
    if (std::find(members.begin(), members.end(), copy.token) != members.end()) continue;
    return MakeError(Reason::kInvalidArgument,
                     copy.token.empty() ? "the token " + *where + " is a group: say for which of it the key is wrapped"
                                        : "the token " + copy.token + " is not of the group " + *where);
  }
  // What could not be used is not put into the token at all.
  const auto usable = UsablePublicKey({copies.front().spki, true, false});
  if (!usable) return usable.error();

  auto id = NewCkaId();
  if (!id) return id.error();
  snapshot::Key key;
  key.domain = domain;
  key.selector = *chosen;
  key.token = *where;
  key.cka_id = std::move(*id);
  key.exposed = true;
  return Make(key, [&] { return ImportCopies(key, copies); });
}

// One at least; the error is the first one. What is wrong with one copy is wrong with all: then none is left.
Result<TokenKey> KeyManager::ImportCopies(const snapshot::Key& key, const std::vector<WrappedKey>& copies) {
  std::optional<Result<TokenKey>> first;
  for (const WrappedKey& copy : copies) {
    const std::string& token = copy.token.empty() ? key.token : copy.token;
    auto described = signer_.Import(token, copy, key.cka_id, key.selector + "._domainkey." + key.domain);
    if (!first || (!*first && described)) first = std::move(described);
  }
  return std::move(*first);
}

std::vector<std::string> KeyManager::TokensWithout(const snapshot::Key& key) {
  std::vector<std::string> without;
  const auto members = signer_.MembersOf(key.token);
  if (members.size() < 2 || key.state == snapshot::KeyState::kDestroyed) return without;
  for (const std::string& member : members) {
    const auto found = signer_.Find(member, key.cka_id);
    const bool missing = !found && found.error().reason == Reason::kKeyMissing;
    const bool other = found && found->spki != key.public_key->Spki();
    if (missing || other) without.push_back(member);
  }
  return without;
}

}  // namespace hallmark::keys
