#pragma once

#include <memory>
#include <string>

#include "signerd/keys/key_manager.h"
#include "signerd/ledger/ledger.h"
#include "signerd/store/store.h"
#include "signerd/tokens/token_set.h"

namespace hallmark {

// The Ed25519 key in the token `token` that signs the ledger's checkpoints. Made once, recorded in the store, and found
// again by its CKA_ID. Calls wait; from one thread at a time.
class CheckpointKey final : public ledger::CheckpointSigner {
 public:
  CheckpointKey(store::Store& store, tokens::TokenSet& tokens, keys::Signer& signer, std::string token)
      : store_(store), tokens_(tokens), signer_(signer), token_(std::move(token)) {}

  Result<std::array<std::uint8_t, 32>> PublicKey() override;
  Result<Bytes> Sign(const std::string& text) override;

 private:
  Status Find();
  Result<store::Store::LedgerKey> Make();
  store::Store& store_;
  tokens::TokenSet& tokens_;
  keys::Signer& signer_;
  const std::string token_;
  std::shared_ptr<const snapshot::Key> key_;  // null until it was found or made
};

// Who signs the checkpoints of the log `origin`, as recorded. kNotFound: the key is made with the first checkpoint. Any
// thread.
Result<ledger::VerifierKey> RecordedVerifierKey(store::Store& store, const std::string& origin);

}  // namespace hallmark
