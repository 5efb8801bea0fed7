#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "firmware/runtime/clock.h"
#include "signerd/keys/key_manager.h"
#include "signerd/ledger/ledger.h"
#include "signerd/store/store.h"
#include "signerd/tokens/token_set.h"

namespace hallmark {

// When a new key may take the place of one that its token has no longer.
struct TakeOver {
  // A file that says that it may: a restore puts it there, for the keys of the old token are lost. It goes when a key
  // was found or made.
  std::filesystem::path permission;
  std::filesystem::path ledger_directory;
  std::string origin;  // of checkpoints from now on
  // Puts on the ledger that a key is replaced; it is not when this fails.
  std::function<Status(const hallmark::ledger::v1::Record&)> journal;
};

// The Ed25519 key in the token `token` that signs the ledger's checkpoints. Made once, recorded in the store, and found
// again by its CKA_ID. Calls wait; from one thread at a time.
class CheckpointKey final : public ledger::CheckpointSigner {
 public:
  CheckpointKey(store::Store& store, tokens::TokenSet& tokens, keys::Signer& signer, const Clock& clock,
                std::string token)
      : store_(store), tokens_(tokens), signer_(signer), clock_(clock), token_(std::move(token)) {}

  // Before the first call of the others.
  void Allow(TakeOver take_over) { take_over_ = std::move(take_over); }

  Result<std::array<std::uint8_t, 32>> PublicKey() override;
  Result<ledger::VerifierKeys> PastKeys() override;
  Result<Bytes> Sign(const std::string& text) override;

 private:
  using Record = std::function<Status(const store::Store::LedgerKey&)>;
  Status Find();
  // Makes a pair and has it recorded; one that is not, or that could leave the token, is destroyed.
  Result<store::Store::LedgerKey> Make(const Record& record);
  // The recorded key, or the one that was made in its place.
  Result<store::Store::LedgerKey> Replace(const store::Store::LedgerKey& recorded);
  Status RecordReplaced(const store::Store::LedgerKey& past, const store::Store::LedgerKey& key);
  // Destroys the pair that is noted where it is not the recorded one, and forgets the note.
  Status ClearNoted();

  store::Store& store_;
  tokens::TokenSet& tokens_;
  keys::Signer& signer_;
  const Clock& clock_;
  const std::string token_;
  std::optional<TakeOver> take_over_;
  std::shared_ptr<const snapshot::Key> key_;  // null until it was found or made
};

// That key as recorded; null where there is none yet. Any thread.
Result<std::shared_ptr<const snapshot::Key>> RecordedCheckpointKey(store::Store& store);

// Who signs the checkpoints and who did before, as recorded. `origin`: of the log where nothing was signed yet
// (ledger::KeptOrigin). kNotFound: the key is made with the first checkpoint. Any thread.
Result<ledger::VerifierKeys> RecordedVerifierKeys(store::Store& store, const std::filesystem::path& ledger_directory,
                                                  const std::string& origin);

}  // namespace hallmark
