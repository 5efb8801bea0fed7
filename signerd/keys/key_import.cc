#include "signerd/dkim/public_key.h"
#include "signerd/keys/key_manager.h"

namespace hallmark::keys {

Result<WrappingKey> KeyManager::BeginImport(const std::string& token) {
  const auto where = ChooseToken(token);
  if (!where) return where.error();
  auto spki = signer_.BeginImport(*where);
  if (!spki) return spki.error();
  return WrappingKey{*where, std::move(*spki)};
}

Result<snapshot::Key> KeyManager::Import(const std::string& domain, const std::string& selector,
                                         const std::string& token, const WrappedKey& wrapped) {
  const auto exists = store_.GetDomain(domain);
  if (!exists) return exists.error();
  if (selector.empty()) return MakeError(Reason::kInvalidArgument, "name the selector of the key");
  const auto chosen = ChooseSelector(domain, selector, dkim::Algorithm::kRsaSha256);
  if (!chosen) return chosen.error();
  const auto where = ChooseToken(token);
  if (!where) return where.error();
  // What could not be used is not put into the token at all.
  const auto usable = UsablePublicKey({wrapped.spki, true, false});
  if (!usable) return usable.error();

  auto id = NewCkaId();
  if (!id) return id.error();
  snapshot::Key key;
  key.domain = domain;
  key.selector = *chosen;
  key.token = *where;
  key.cka_id = std::move(*id);
  key.exposed = true;
  const auto described = signer_.Import(*where, wrapped, key.cka_id, *chosen + "._domainkey." + domain);
  if (!described) return described.error();
  auto recorded = Record(key, *described);
  if (recorded) return recorded;
  const Status destroyed = signer_.Destroy(*where, key.cka_id, described->spki);
  if (destroyed) return recorded;
  Error error = recorded.error();
  error.message += "; the key was put into token " + *where +
                   " and could not be taken out of it again: " + destroyed.error().message;
  return error;
}

}  // namespace hallmark::keys
