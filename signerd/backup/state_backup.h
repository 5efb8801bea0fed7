#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "firmware/runtime/clock.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/backup/archive.h"
#include "signerd/ledger/ledger.h"

namespace hallmark::backup {

struct BackupSettings {
  std::vector<std::filesystem::path> recipients;  // certificates; none: no backup is made
  // hallmark.toml and the files that it names, but for secrets: private keys, PINs, what publishers and webhooks sign
  // with.
  std::vector<std::filesystem::path> files;
  std::filesystem::path state_directory;
  std::string box;  // whose backup it is
  std::string version;
};

// What a backup is made of, beside the settings.
struct StateSource {
  const BackupSettings& settings;
  ledger::Ledger& ledger;
  // Who signs the ledger's checkpoints, and who did before; none while no checkpoint was signed.
  std::function<Result<ledger::VerifierKeys>()> keys;
  const Clock& clock;
  std::function<bool()> cancelled;  // nobody waits for it any more
};

// Gives the whole state as one archive, encrypted for the recipients, while signing goes on: the database as it is at
// one moment, and the ledger up to a later one, so that of every change the ledger has the record. Its contents are put
// on the ledger first, under a signed checkpoint where the token can sign one. Holds a piece of a file at a time.
// There must be recipients. kCancelled; the parts' errors. Any thread, for long; one at a time.
Status WriteBackup(const StateSource& source, const OctetSink& sink);

}  // namespace hallmark::backup
