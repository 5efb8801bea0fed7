#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <fstream>

#include "firmware/runtime/config.h"
#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/backup/names.h"
#include "signerd/dkim/sha256.h"
#include "signerd/ledger/checkpoint_file.h"
#include "signerd/ledger/segment.h"
#include "signerd/ledger/verify.h"
#include "tools/dkimctl/backup_folder.h"
#include "tools/dkimctl/progress.h"

// What is in an unpacked backup, compared with what it says.
namespace hallmark::ctl {
namespace {

constexpr std::size_t kMostManifest = 1 << 20, kMostKeys = 1 << 16;

Error NotWhole(const std::string& what) { return MakeError(Reason::kInvalidArgument, what); }

Result<std::string> Sha256OfFile(const std::filesystem::path& path, const StopSignals& stop) {
  std::ifstream file(path, std::ios::binary);
  dkim::Sha256 hash;
  std::string piece(1 << 16, '\0');
  while (file) {
    if (const Status on = stop.GoOn(); !on) return on.error();
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.Update(std::string_view(piece).substr(0, static_cast<std::size_t>(file.gcount())));
  }
  if (!file.eof()) return NotWhole(path.filename().string() + ": is missing, or cannot be read");
  return HexEncode(hash.Finish());
}

// The manifest into `facts`, and that the files are those that it lists.
Status CheckFiles(const std::filesystem::path& folder, const std::string& manifest, const StopSignals& stop,
                  BackupFacts& facts) {
  google::protobuf::Struct json;
  if (!google::protobuf::util::JsonStringToMessage(manifest, &json).ok()) return NotWhole("backup.json is not JSON");
  const auto& fields = json.fields();
  const auto field = [&](const char* name) {
    const auto found = fields.find(name);
    return found == fields.end() ? google::protobuf::Value() : found->second;
  };
  if (static_cast<int>(field("format").number_value()) != backup::kFormat) {
    return NotWhole("backup.json: a newer Hallmark made the backup; take its dkimctl");
  }
  facts.box = field("box").string_value();
  facts.version = field("version").string_value();
  facts.time = static_cast<std::int64_t>(field("time").number_value());
  const google::protobuf::Value hashes = field("sha256");
  const auto& listed = hashes.struct_value().fields();
  for (const auto& [name, sha256] : listed) {
    if (!backup::IsName(name)) return NotWhole("backup.json names a file that no backup has");
    const auto found = Sha256OfFile(folder / name, stop);
    if (!found) return found.error();
    if (*found != sha256.string_value()) return NotWhole(name + ": is not the one that backup.json lists");
    ++facts.files;
  }
  // Beside them there is only the ledger, which is checked by itself.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    const bool ledgers =
        name == "ledger/checkpoints" || name == "ledger/verifier-key" || name.starts_with("ledger/segments/");
    if (entry.is_directory() || ledgers || name == backup::kManifest || listed.contains(name)) continue;
    return NotWhole(name + ": is not among those that backup.json lists");
  }
  return Ok();
}

// As the last segment says; the verifier compares it with all the others.
Result<ledger::TreeHead> EndOfLedger(const std::vector<ledger::SegmentFile>& segments) {
  if (segments.empty()) return ledger::TreeHead();
  if (segments.back().pruned) return NotWhole("the ledger's last segment is missing");
  auto reader = ledger::SegmentReader::Open(segments.back().path);
  if (!reader) return reader.error();
  auto tree = ledger::CompactTree::From(reader->header().first, reader->header().frontier);
  if (!tree) return tree.error();
  while (true) {
    const auto record = reader->Next();
    if (!record) return record.error();
    if (!*record) return ledger::TreeHead{tree->size(), tree->Root()};
    tree->Append(ledger::LeafHash(AsBytes(**record)));
  }
}

// The number of the last record that says that this manifest was backed up; nothing where there is none.
Result<std::optional<std::uint64_t>> FindRecord(const std::vector<ledger::SegmentFile>& segments,
                                                const std::string& manifest) {
  const std::string said = HexEncode(dkim::Sha256Of(manifest));
  for (auto segment = segments.rbegin(); segment != segments.rend() && !segment->pruned; ++segment) {
    auto reader = ledger::SegmentReader::Open(segment->path);
    if (!reader) return reader.error();
    std::optional<std::uint64_t> found;
    while (true) {
      const std::uint64_t sequence = reader->next_sequence();
      const auto octets = reader->Next();
      if (!octets) return octets.error();
      if (!*octets) break;
      if ((*octets)->find(said) == std::string_view::npos) continue;
      hallmark::ledger::v1::Record record;
      if (!record.ParseFromArray((*octets)->data(), static_cast<int>((*octets)->size()))) continue;
      const auto& act = record.admin_act();
      const std::string request = std::string("{\"") + backup::kManifestField + "\":\"" + said + "\"}";
      if (act.method() == backup::kMethod && act.request() == request) found = sequence;
    }
    if (found) return found;
  }
  return std::optional<std::uint64_t>();
}

// The box may have signed no checkpoint yet: then there are none, and nothing is proved.
Result<ledger::VerifierKeys> OwnKeys(const std::filesystem::path& directory) {
  const auto text = ReadFile(directory / "verifier-key", kMostKeys);
  if (!text) return text.error();
  return text->empty() ? ledger::VerifierKeys() : ledger::ParseVerifierKeys(*text);
}

Status CheckLedger(const std::filesystem::path& directory, const std::string& manifest,
                   const ledger::VerifierKeys& given, const StopSignals& stop, BackupFacts& facts) {
  const auto keys = given.empty() ? OwnKeys(directory) : Result<ledger::VerifierKeys>(given);
  if (!keys) return keys.error();
  if (!keys->empty()) facts.verifier_key = keys->back().Text();
  const auto segments = ledger::ListSegments(directory);
  if (!segments) return segments.error();
  const auto end = EndOfLedger(*segments);
  if (!end) return end.error();
  CountBar bar("records");
  const auto verified = ledger::Verify({directory, [&] { return *keys; }, "", 0, 0, [&] { return *end; },
                                        [&](std::uint64_t done, std::uint64_t size) {
                                          bar.Show(done, size);
                                          return stop.GoOn().has_value();
                                        }});
  if (!verified) return verified.error();
  facts.records = verified->head.size;
  facts.deleted = verified->deleted;
  facts.checkpoints = verified->checkpoints;
  const auto record = FindRecord(*segments, manifest);
  if (!record) return record.error();
  if (!*record) return NotWhole("the ledger does not say that this backup was made: its files are of another one");
  const auto newest = ledger::NewestCheckpoint(directory / "checkpoints");
  if (!newest) return newest.error();
  facts.proved = newest->head.size > **record;
  // Who gives a key wants to know whose the backup is. Without a checkpoint of it anyone may have made all of it who
  // has a recipient's certificate.
  if (facts.proved || given.empty()) return Ok();
  return NotWhole(
      "it is not proved whose it is: no checkpoint that the given verifier key signed is of what is in it. Take "
      "another backup; or go without --verifier-key, where you know by other means who made it");
}

// Where that box had its ledger, if not in its state. Its hallmark.toml may have another name.
std::string LedgerDirectory(const std::filesystem::path& config) {
  const auto normal = [](const std::filesystem::path& path) { return (path / "").lexically_normal(); };
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(config, failed)) {
    if (entry.path().extension() != ".toml") continue;
    const auto file = ConfigFile::Load(entry.path());
    if (!file) continue;
    ConfigTable root = (*file)->root();
    auto state = root.OptionalTable("state"), ledger = root.OptionalTable("ledger");
    if (!state || !ledger) continue;
    const std::filesystem::path directory = ledger->String("directory", "", "");
    const std::filesystem::path usual = std::filesystem::path(state->String("directory", "", "")) / "ledger";
    if (!directory.empty() && normal(directory) != normal(usual)) return directory;
  }
  return "";
}

}  // namespace

Answer<ledger::VerifierKeys> ReadGivenKeys(const std::filesystem::path& path) {
  if (path.empty()) return ledger::VerifierKeys();
  const auto text = ReadFile(path, kMostKeys);
  if (!text) return FromError(text.error());
  auto keys = ledger::ParseVerifierKeys(*text);
  if (!keys) return Failed(path.string() + ": " + keys.error().message);
  return std::move(*keys);
}

Answer<BackupFacts> CheckBackup(const std::filesystem::path& folder, const ledger::VerifierKeys& given,
                                const StopSignals& stop) {
  BackupFacts facts;
  const auto manifest = ReadFile(folder / backup::kManifest, kMostManifest);
  Status done = manifest ? CheckFiles(folder, *manifest, stop, facts) : Status(manifest.error());
  if (done) done = CheckLedger(folder / "ledger", *manifest, given, stop, facts);
  if (done) facts.ledger_directory = LedgerDirectory(folder / backup::kConfigFolder);
  if (done) return facts;
  const Reason reason = done.error().reason;
  if (reason == Reason::kIoFailed || reason == Reason::kCancelled) return FromError(done.error());
  facts.problem = done.error().message;
  return facts;
}

}  // namespace hallmark::ctl
