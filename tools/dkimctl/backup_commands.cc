#include <google/protobuf/util/time_util.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "hallmark/admin/v1/appliance.grpc.pb.h"
#include "signerd/dkim/sha256.h"
#include "tools/dkimctl/backup_folder.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/new_file.h"
#include "tools/dkimctl/stop_signals.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;

struct Options {
  std::string file, key, folder, verifier_key;
};

Outcome Create(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  NewFile file(options.file);
  const auto begun = file.Begin();
  if (!begun) return begun.error();
  dkim::Sha256 hash;
  std::int64_t octets = 0;
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  const auto done = client->Stream<api::ApplianceService::Stub, api::CreateBackupRequest, api::CreateBackupResponse>(
      &api::ApplianceService::Stub::CreateBackup, api::CreateBackupRequest(),
      [&](const api::CreateBackupResponse& piece) -> Answer<void> {
        hash.Update(piece.data());
        octets += static_cast<std::int64_t>(piece.data().size());
        if (terminal) std::cerr << "\r" << (octets >> 20) << " MiB" << std::flush;
        return file.Write(piece.data());
      });
  if (terminal) std::cerr << "\r\033[K" << std::flush;
  if (!done) return done.error();
  const auto kept = file.Keep();
  if (!kept) return kept.error();
  const std::string sha256 = HexEncode(hash.Finish());
  Print(context,
        options.file + ": " + std::to_string(octets) + " octets, encrypted for backup.recipients\nSHA-256 " + sha256 +
            "\nTry it where the key is: dkimctl backup check FILE --key KEY\n",
        Json::Object()
            .Set("file", Json::Text(options.file))
            .Set("octets", Json::Number(octets))
            .Set("sha256", Json::Text(sha256)));
  return ExitCode::kDone;
}

std::string TimeOf(const BackupFacts& facts) {
  return TimeText(google::protobuf::util::TimeUtil::SecondsToTimestamp(facts.time));
}

Json FactsJson(const BackupFacts& facts) {
  return Json::Object()
      .Set("whole", Json::Bool(facts.problem.empty()))
      .Set("problem", Json::Text(facts.problem))
      .Set("box", Json::Text(facts.box))
      .Set("time", Json::Text(TimeOf(facts)))
      .Set("version", Json::Text(facts.version))
      .Set("files", Json::Number(static_cast<std::int64_t>(facts.files)))
      .Set("records", Json::Number(static_cast<std::int64_t>(facts.records)))
      .Set("deleted_records", Json::Number(static_cast<std::int64_t>(facts.deleted)))
      .Set("checkpoints", Json::Number(static_cast<std::int64_t>(facts.checkpoints)))
      .Set("verifier_key", Json::Text(facts.verifier_key))
      .Set("ledger_directory", Json::Text(facts.ledger_directory))
      .Set("proved", Json::Bool(facts.proved));
}

std::string FactsText(const BackupFacts& facts) {
  if (!facts.problem.empty()) return "NOT accepted: " + OneLine(facts.problem) + "\n";
  Table table;
  table.Add({"box:", facts.box});
  table.Add({"made:", TimeOf(facts)});
  table.Add({"version:", facts.version});
  table.Add({"files:", std::to_string(facts.files) + ", and the ledger's"});
  table.Add(
      {"records:", std::to_string(facts.records) +
                       (facts.deleted == 0 ? "" : ", of which retention deleted " + std::to_string(facts.deleted))});
  table.Add({"checkpoints:", std::to_string(facts.checkpoints)});
  table.Add({"verifier key:", facts.verifier_key});
  table.Add({"proved:", facts.proved ? "yes: its contents are under a signed checkpoint"
                                     : "NO: no checkpoint was signed after it was begun"});
  if (!facts.ledger_directory.empty()) table.Add({"ledger.directory:", facts.ledger_directory});
  return table.Render();
}

// A folder of our own in TMPDIR, that goes with what is in it.
class PrivateFolder {
 public:
  PrivateFolder() {
    std::error_code failed;
    const std::filesystem::path temporary = std::filesystem::temp_directory_path(failed);
    if (failed) return;  // and not into the folder that happens to be the current one
    std::string pattern = (temporary / "dkimctl-backup-XXXXXX").string();
    if (const char* made = ::mkdtemp(pattern.data())) path_ = made;
  }
  ~PrivateFolder() {
    std::error_code ignored;  // BackupFolder has said what of it stays
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

Outcome Check(const Context& context, const Options& options) {
  const StopSignals stop;
  const auto given = ReadGivenKeys(options.verifier_key);
  if (!given) return given.error();
  const PrivateFolder folder;
  if (folder.path().empty()) return Failed("no folder can be made in the one for temporary files (TMPDIR)");
  const auto unpacked = BackupFolder::Unpack(options.file, options.key, folder.path(), stop);
  if (!unpacked) return unpacked.error();
  const auto facts = CheckBackup(unpacked->path(), *given, stop);
  if (!facts) return facts.error();
  Print(context, FactsText(*facts), FactsJson(*facts));
  return facts->problem.empty() ? ExitCode::kDone : ExitCode::kNotVerified;
}

Outcome UnpackAll(const Context& context, const Options& options) {
  const StopSignals stop;
  auto unpacked = BackupFolder::Unpack(options.file, options.key, options.folder, stop);
  if (!unpacked) return unpacked.error();
  const auto kept = unpacked->Keep(false);
  if (!kept) return kept.error();
  Print(context, options.folder + ": has what was in the backup, secrets among it; delete it when you are done\n",
        Json::Object().Set("folder", Json::Text(options.folder)));
  return ExitCode::kDone;
}

// For a box that had its ledger elsewhere: a restore always puts it into the state.
std::string LedgerStep(const BackupFacts& facts, const std::filesystem::path& state) {
  if (facts.ledger_directory.empty()) return "";
  return "That configuration has the ledger in " + OneLine(facts.ledger_directory) +
         " (ledger.directory). Where signerd's has it too, it does\nnot start before you move " +
         (state / "ledger").string() + " there, in the place of any that is there.\n";
}

Outcome Restore(const Context& context, const Options& options) {
  const StopSignals stop;
  const auto given = ReadGivenKeys(options.verifier_key);
  if (!given) return given.error();
  auto unpacked = BackupFolder::Unpack(options.file, options.key, options.folder, stop);
  if (!unpacked) return unpacked.error();
  const auto facts = CheckBackup(unpacked->path(), *given, stop);
  if (!facts) return facts.error();
  if (!facts->problem.empty()) {
    Print(context, FactsText(*facts), FactsJson(*facts));
    return ExitCode::kNotVerified;
  }
  // The key that signs the ledger's checkpoints stays in the old token.
  const Status allowed = WriteFileAtomically(unpacked->path() / "new-ledger-key", "restored by dkimctl\n", 0600);
  if (!allowed) return FromError(allowed.error());
  const auto kept = unpacked->Keep(true);
  if (!kept) return kept.error();
  Print(context,
        FactsText(*facts) + "\n" + options.folder +
            ": is the state of that box. Start signerd with its configuration (dkimctl\n"
            "backup unpack has it). Where the token is another one: dkimctl key replace-missing,\n"
            "and give the new verifier key to whoever verifies the ledger.\n" +
            LedgerStep(*facts, options.folder),
        FactsJson(*facts));
  return ExitCode::kDone;
}

void AddKey(CLI::App& command, const std::shared_ptr<Options>& options) {
  command.add_option("FILE", options->file, "The backup")->required()->type_name("");
  command.add_option("--key", options->key, "The private key of one of its recipients, PEM")
      ->required()
      ->type_name("FILE");
}

void AddVerifierKey(CLI::App& command, const std::shared_ptr<Options>& options) {
  command.add_option("--verifier-key", options->verifier_key, "The ledger's key that must prove it [its own]")
      ->type_name("FILE");
}

}  // namespace

void AddBackupCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "backup", "The box's state as one encrypted file",
                             "dkimctl backup create signer1.backup\n"
                             "dkimctl backup check signer1.backup --key officer.key");
  const auto options = std::make_shared<Options>();

  CLI::App* create = AddCommand(*group, context, "create", "Fetch a backup, encrypted for its recipients",
                                "dkimctl backup create signer1-2026-01-31.backup",
                                [&context, options] { return Create(context, *options); });
  create->add_option("FILE", options->file, "Made anew")->required()->type_name("");
  AddAs(*create, context);

  CLI::App* check = AddCommand(*group, context, "check", "Verify a backup; exit code 4: not whole",
                               "dkimctl backup check signer1.backup --key officer.key\n"
                               "dkimctl backup check signer1.backup --key officer.key --verifier-key kept",
                               [&context, options] { return Check(context, *options); });
  AddKey(*check, options);
  AddVerifierKey(*check, options);

  CLI::App* unpack = AddCommand(*group, context, "unpack", "Unpack a backup, its configuration too",
                                "dkimctl backup unpack signer1.backup signer1 --key officer.key",
                                [&context, options] { return UnpackAll(context, *options); });
  AddKey(*unpack, options);
  unpack->add_option("FOLDER", options->folder, "Empty, or made anew")->required()->type_name("");

  CLI::App* restore = AddCommand(*group, context, "restore", "Fill the empty state of a stopped signerd",
                                 "dkimctl backup restore signer1.backup --key KEY --state /var/lib/hallmark",
                                 [&context, options] { return Restore(context, *options); });
  AddKey(*restore, options);
  restore->add_option("--state", options->folder, "state.directory of hallmark.toml: empty")
      ->required()
      ->type_name("DIR");
  AddVerifierKey(*restore, options);
}

}  // namespace hallmark::ctl
