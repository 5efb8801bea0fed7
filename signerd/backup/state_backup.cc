#include "signerd/backup/state_backup.h"

#include <fcntl.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"
#include "signerd/backup/envelope.h"
#include "signerd/backup/names.h"
#include "signerd/dkim/sha256.h"
#include "signerd/ledger/export.h"
#include "signerd/store/store.h"

namespace hallmark::backup {
namespace {

constexpr std::size_t kPiece = 64 << 10;
constexpr std::chrono::milliseconds kCheckpointTick{100};
constexpr std::chrono::seconds kCheckpointRoom{10};  // longer than the interval, for the token

Error ReadError(const std::filesystem::path& path) {
  return MakeError(Reason::kIoFailed, path.string() + ": cannot read: " + std::strerror(errno));
}

// A file that goes into the archive: kept open, so that it is the same one that was hashed.
struct Entry {
  std::string name;
  std::filesystem::path path;
  FileDescriptor file;
  std::uint64_t octets = 0;
  std::string sha256;  // hexadecimal
};

// The first `octets` of an open file, in pieces.
Status ReadPieces(const Entry& entry, const OctetSink& sink) {
  std::string piece(kPiece, '\0');
  for (std::uint64_t at = 0; at < entry.octets;) {
    const std::size_t most = std::min<std::uint64_t>(piece.size(), entry.octets - at);
    const ssize_t count = ::pread(entry.file.get(), piece.data(), most, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ReadError(entry.path);
    if (count == 0) return MakeError(Reason::kIoFailed, entry.path.string() + ": became shorter while it was read");
    const Status taken = sink({piece.data(), static_cast<std::size_t>(count)});
    if (!taken) return taken;
    at += static_cast<std::uint64_t>(count);
  }
  return Ok();
}

Result<Entry> OpenEntry(const std::string& name, const std::filesystem::path& path) {
  Entry entry{name, path, FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), 0, ""};
  struct stat facts {};
  if (!entry.file && errno == ENOENT) return MakeError(Reason::kNotFound, path.string() + ": does not exist");
  if (!entry.file || ::fstat(entry.file.get(), &facts) != 0) return ReadError(path);
  entry.octets = static_cast<std::uint64_t>(facts.st_size);
  dkim::Sha256 hash;
  const Status read = ReadPieces(entry, [&](std::string_view octets) {
    hash.Update(octets);
    return Ok();
  });
  if (!read) return read.error();
  entry.sha256 = HexEncode(hash.Finish());
  return entry;
}

// The database as it is now: a file that has no name any more, so that it is gone when it is closed. What a crash
// before that leaves, the next backup removes.
Result<Entry> CopyDatabase(const std::filesystem::path& state_directory) {
  const std::filesystem::path copy = state_directory / "backup.db";
  std::error_code failed;
  std::filesystem::remove(copy, failed);  // of a backup that a crash ended
  {
    const FileDescriptor made(::open(copy.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!made) return MakeError(Reason::kIoFailed, copy.string() + ": cannot create: " + std::strerror(errno));
  }
  const Status copied = store::Store::Copy(state_directory / kDatabase, copy);
  auto entry = copied ? OpenEntry(kDatabase, copy) : Result<Entry>(copied.error());
  std::filesystem::remove(copy, failed);
  if (!failed) return entry;
  // It holds the operators' TOTP secrets.
  return MakeError(Reason::kIoFailed, (entry ? "" : entry.error().message + "; ") + copy.string() +
                                          ": cannot remove: " + failed.message());
}

// "config/tls/server.pem" for what lies below the configuration's folder; else the whole path below "config/".
std::string ConfigName(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const std::string below = path.lexically_relative(folder).string();
  const bool inside = !below.empty() && !below.starts_with("..");
  return kConfigFolder + (inside ? below : path.lexically_normal().relative_path().string());
}

// Everything but the ledger's own files.
Result<std::vector<Entry>> OpenEntries(const StateSource& source) {
  std::vector<Entry> entries;
  const auto add = [&](Result<Entry> entry, bool optional) -> Status {
    if (!entry && optional && entry.error().reason == Reason::kNotFound) return Ok();
    if (!entry) return entry.error();
    if (!IsName(entry->name))
      return MakeError(Reason::kStateConflict, entry->name + ": such a file cannot be backed up");
    for (const Entry& other : entries) {
      if (other.name == entry->name) return Ok();  // two settings name one file
    }
    entries.push_back(std::move(*entry));
    return Ok();
  };
  const BackupSettings& settings = source.settings;
  Status done = add(CopyDatabase(settings.state_directory), false);
  for (const auto& path : settings.files) {
    if (done) done = add(OpenEntry(ConfigName(path, settings.files.front().parent_path()), path), true);
  }
  for (const char* name : {"recipient.key", "retention"}) {
    if (done) done = add(OpenEntry(std::string(kLedgerFolder) + name, source.ledger.directory() / name), true);
  }
  if (!done) return done.error();
  return entries;
}

std::string Manifest(const StateSource& source, const std::vector<Entry>& entries) {
  google::protobuf::Struct json;
  auto& fields = *json.mutable_fields();
  fields["format"].set_number_value(kFormat);
  fields["box"].set_string_value(source.settings.box);
  fields["version"].set_string_value(source.settings.version);
  fields["time"].set_number_value(static_cast<double>(source.clock.Now().time_since_epoch().count()));
  auto& hashes = *fields["sha256"].mutable_struct_value()->mutable_fields();
  for (const Entry& entry : entries) hashes[entry.name].set_string_value(entry.sha256);
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string text;
  static_cast<void>(google::protobuf::util::MessageToJsonString(json, &text, options));  // of a Struct: cannot fail
  return text;
}

// Says on the ledger what the backup holds, and waits until a checkpoint is of that record: no longer than one takes,
// for a backup is wanted most where a token is in trouble.
Status PutOnLedger(const StateSource& source, const std::string& manifest) {
  hallmark::ledger::v1::Record record;
  auto& act = *record.mutable_admin_act();
  act.set_method(kMethod);
  act.set_request(std::string("{\"") + kManifestField + "\":\"" + HexEncode(dkim::Sha256Of(manifest)) + "\"}");
  act.set_outcome("OK");
  act.set_count(1);
  const auto keys = source.keys();
  if (!keys) return keys.error();
  const Status kept = source.ledger.AppendAndWait(record);
  if (!kept) return kept;
  if (keys->empty()) return Ok();
  const std::uint64_t size = source.ledger.durable().size;
  const auto deadline = std::chrono::steady_clock::now() + source.ledger.checkpoint_interval() + kCheckpointRoom;
  while (std::chrono::steady_clock::now() < deadline) {
    if (source.cancelled()) return MakeError(Reason::kCancelled, "the call was cancelled");
    const auto note = source.ledger.latest_checkpoint();
    const auto head = note ? ledger::ParseCheckpoint(*note) : Result<ledger::TreeHead>(ledger::TreeHead());
    if (head && head->size >= size) return Ok();
    std::this_thread::sleep_for(kCheckpointTick);
  }
  log::warn("backup: no checkpoint was signed in time: who restores it cannot prove whose it is");
  return Ok();
}

Status WriteEntry(ArchiveWriter& archive, const Entry& entry, std::int64_t now) {
  const Status begun = archive.Begin(entry.name, entry.octets, now);
  if (!begun) return begun;
  return ReadPieces(entry, [&](std::string_view octets) { return archive.Write(octets); });
}

Status WriteLedger(ArchiveWriter& archive, const StateSource& source, std::int64_t now) {
  Status written = Ok();
  const auto segments = source.ledger.KeepSegments();
  const auto exported = ledger::Export(
      {source.ledger.directory(), source.keys, [&] { return source.ledger.durable(); },
       [&](const std::string& path, std::uint64_t octets) { return archive.Begin(kLedgerFolder + path, octets, now); },
       [&](const std::string&, std::string_view octets, std::uint64_t) {
         written = archive.Write(octets);
         return written.has_value();
       }});
  if (!written) return written;
  return exported ? Ok() : Status(exported.error());
}

}  // namespace

Status WriteBackup(const StateSource& source, const OctetSink& sink) {
  auto sealer = Sealer::Begin(source.settings.recipients, sink);
  if (!sealer) return sealer.error();
  const auto entries = OpenEntries(source);
  if (!entries) return entries.error();
  const std::string manifest = Manifest(source, *entries);
  Status done = PutOnLedger(source, manifest);
  if (!done) return done;
  const std::int64_t now = source.clock.Now().time_since_epoch().count();
  ArchiveWriter archive([&](std::string_view octets) { return sealer->Write(octets); });
  done = archive.Begin(kManifest, manifest.size(), now);
  if (done) done = archive.Write(manifest);
  for (const Entry& entry : *entries) {
    if (done) done = WriteEntry(archive, entry, now);
  }
  if (done) done = WriteLedger(archive, source, now);
  if (done) done = archive.Finish();
  return done ? sealer->Finish() : done;
}

}  // namespace hallmark::backup
