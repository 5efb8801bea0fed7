#include "signerd/ledger/export.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "signerd/ledger/checkpoint_file.h"
#include "signerd/ledger/segment.h"

namespace hallmark::ledger {
namespace {

constexpr std::size_t kPiece = 256 << 10;

Error Cancelled() { return MakeError(Reason::kCancelled, "the call was cancelled"); }

Status Begin(const ExportInput& input, const std::string& path, std::uint64_t octets) {
  return input.begin ? input.begin(path, octets) : Ok();
}

Status Give(const ExportInput& input, const std::string& path, std::string_view octets, std::uint64_t records) {
  const Status begun = Begin(input, path, octets.size());
  if (!begun) return begun;
  return input.take(path, octets, records) ? Ok() : Status(Cancelled());
}

// The first `octets` of a file, as `name`.
Status CopyOctets(const ExportInput& input, const std::filesystem::path& path, const std::string& name,
                  std::uint64_t octets, std::uint64_t records) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return MakeError(errno == ENOENT ? Reason::kNotFound : Reason::kIoFailed,
                     path.string() + ": cannot open: " + std::strerror(errno));
  }
  const Status begun = Begin(input, name, octets);
  if (!begun) return begun;
  std::string piece(kPiece, '\0');
  for (std::uint64_t at = 0; at < octets;) {
    const ssize_t count =
        ::pread(file.get(), piece.data(), std::min<std::uint64_t>(piece.size(), octets - at), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return MakeError(Reason::kIoFailed, path.string() + ": cannot read: " + std::strerror(errno));
    if (count == 0) return MakeError(Reason::kIoFailed, path.string() + ": became shorter while it was read");
    if (!input.take(name, {piece.data(), static_cast<std::size_t>(count)}, records)) return Cancelled();
    at += static_cast<std::uint64_t>(count);
  }
  return Ok();
}

Status CopyPruned(const ExportInput& input, std::uint64_t first, std::uint64_t records) {
  const auto path = SegmentPath(input.directory, first, true);
  const auto content = ReadFile(path);
  if (!content) return content.error();
  return Give(input, "segments/" + path.filename().string(), *content, records);
}

// Of the segment whose last wanted record is number `end` - 1.
Status CopyWhole(const ExportInput& input, const SegmentFile& file, std::uint64_t end) {
  auto reader = SegmentReader::Open(file.path);
  if (!reader) return reader.error();
  const Status passed = reader->Skip(end - file.first);
  if (!passed) return passed;
  return CopyOctets(input, file.path, "segments/" + file.path.filename().string(), reader->offset(), file.first);
}

}  // namespace

Result<std::uint64_t> Export(const ExportInput& input) {
  const std::filesystem::path checkpoints = input.directory / "checkpoints";
  const auto newest = NewestCheckpoint(checkpoints);
  if (!newest) return newest.error();
  const auto keys = input.keys();
  if (!keys) return keys.error();
  const std::uint64_t size = input.durable().size;
  Status given = Give(input, "verifier-key", TextOf(*keys), 0);
  if (given && newest->end != 0) given = CopyOctets(input, checkpoints, "checkpoints", newest->end, 0);
  if (!given) return given.error();
  const auto segments = ListSegments(input.directory);
  if (!segments) return segments.error();
  for (std::size_t i = 0; i < segments->size(); ++i) {
    const SegmentFile& file = (*segments)[i];
    if (i != 0 && file.first >= size) break;
    const std::uint64_t end = i + 1 < segments->size() ? std::min((*segments)[i + 1].first, size) : size;
    const Status done = file.pruned ? CopyPruned(input, file.first, file.first) : CopyWhole(input, file, end);
    if (!done) return done.error();
  }
  return size;
}

}  // namespace hallmark::ledger
