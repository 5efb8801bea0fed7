#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "signerd/ledger/checkpoint.h"
#include "tools/dkimctl/failure.h"
#include "tools/dkimctl/stop_signals.h"

namespace hallmark::ctl {

// A backup's files in a folder of their own, taken out of it again when this goes without Keep(): until it is known to
// be whole nothing of it may be used, and it has secrets. Move-only.
class BackupFolder {
 public:
  // Opens the backup with a private key into `folder`/restoring. `folder` must be empty, or not be there: then it is
  // made. `stop` must outlive it.
  static Answer<BackupFolder> Unpack(const std::filesystem::path& backup, const std::filesystem::path& key,
                                     const std::filesystem::path& folder, const StopSignals& stop);
  BackupFolder(BackupFolder&& other) noexcept;
  BackupFolder& operator=(BackupFolder&&) = delete;
  ~BackupFolder();

  const std::filesystem::path& path() const { return path_; }  // where the files are now
  // Moves the files up into the folder, durably: all of them, or only what is signerd's state.
  Answer<void> Keep(bool only_state);

 private:
  BackupFolder(std::filesystem::path folder, bool made);
  std::filesystem::path folder_, path_;
  bool made_;  // the folder is ours to remove
  bool kept_ = false;
};

// What a backup holds, as it says and as was found.
struct BackupFacts {
  std::string box, version;
  std::int64_t time = 0;      // seconds since 1970
  std::uint64_t files = 0;    // beside the ledger's
  std::uint64_t records = 0;  // of the ledger
  std::uint64_t deleted = 0;  // of them, by retention
  std::uint64_t checkpoints = 0;
  std::string verifier_key;  // the newest
  // ledger.directory of the configuration in it, as that has it; empty: where a restore puts the ledger.
  std::string ledger_directory;
  bool proved = false;  // a signed checkpoint is of the record that says what is in the backup
  std::string problem;  // why it is not whole; empty: it is
};

// The ledger's verifier keys in a file that the caller was given; none where `path` is empty. Before the backup is
// unpacked: what is wrong with that file says nothing of the backup.
Answer<ledger::VerifierKeys> ReadGivenKeys(const std::filesystem::path& path);

// Reads all of an unpacked backup: its files are those that it lists, and the ledger is whole. `given`: the ledger's
// verifier keys that the caller was given: what they do not prove is a problem. None: those in the backup are believed,
// and a backup that nothing proves is none.
Answer<BackupFacts> CheckBackup(const std::filesystem::path& folder, const ledger::VerifierKeys& given,
                                const StopSignals& stop);

}  // namespace hallmark::ctl
