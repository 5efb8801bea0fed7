#pragma once

#include "signerd/keys/key_manager.h"
#include "signerd/tokens/token_set.h"

namespace hallmark {

// What keys/ asks of a token, answered by tokens/. Calls wait; any thread.
class TokenSigner final : public keys::Signer {
 public:
  explicit TokenSigner(tokens::TokenSet& tokens) : tokens_(tokens) {}

  bool HasToken(const std::string& token) const override { return tokens_.Has(token); }
  std::vector<std::string> MembersOf(const std::string& token) const override { return tokens_.MembersOf(token); }
  std::string DefaultToken() const override { return tokens_.first(); }
  Status CanMake(const std::string& token, dkim::Algorithm algorithm) const override;
  Result<keys::TokenKey> Generate(const std::string& token, const keys::KeySpec& spec, const Bytes& cka_id,
                                  const std::string& label) override;
  Result<keys::TokenKey> Find(const std::string& token, const Bytes& cka_id) override;
  Result<Bytes> BeginImport(const std::string& token) override;
  Result<keys::TokenKey> Import(const std::string& token, const keys::WrappedKey& wrapped, const Bytes& cka_id,
                                const std::string& label) override;
  Status Destroy(const std::string& token, const Bytes& cka_id, const Bytes& spki) override;
  Result<Bytes> Sign(std::shared_ptr<const snapshot::Key> key, const std::string& text) override;

 private:
  // Where a new pair is made: a member that is well and makes such keys; else the first, which says why not.
  std::string MemberToMakeIn(const std::string& token, dkim::Algorithm algorithm) const;
  // `token` itself where it is no group.
  std::vector<std::string> Asked(const std::string& token) const;

  tokens::TokenSet& tokens_;
};

}  // namespace hallmark
