#include "signerd/ledger/torn.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "firmware/runtime/file.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/ledger/crc32c.h"
#include "signerd/ledger/segment.h"

namespace hallmark::ledger {
namespace {

// A disk writes no less at once.
constexpr std::uint64_t kBlock = 512;

std::uint32_t U32(std::string_view octets) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<std::uint8_t>(octets[static_cast<std::size_t>(i)]);
  return value;
}

Result<std::string> ReadFrom(const std::filesystem::path& path, std::uint64_t offset) {
  std::error_code failed;
  const std::uint64_t size = std::filesystem::file_size(path, failed);
  if (failed) return MakeError(Reason::kIoFailed, path.string() + ": " + failed.message());
  std::string octets(size > offset ? size - offset : 0, '\0');
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(octets.data(), static_cast<std::streamsize>(octets.size()));
  if (!file) return MakeError(Reason::kIoFailed, path.string() + ": cannot read: " + std::strerror(errno));
  return octets;
}

// The length that a frame at the beginning of `octets` says, where it is one that a record can have.
std::optional<std::size_t> LengthOf(std::string_view octets) {
  if (octets.size() < kFrameOctets) return std::nullopt;
  const std::uint32_t length = U32(octets);
  return length == 0 || length > kMaxRecordOctets ? std::nullopt : std::optional<std::size_t>(length);
}

bool IsWhole(std::string_view octets) {
  const auto length = LengthOf(octets);
  return length && *length <= octets.size() - kFrameOctets &&
         Crc32c(AsBytes(octets.substr(kFrameOctets, *length))) == U32(octets.substr(4));
}

// Where the first whole frame begins, from `from` on; else the end. A frame that is not whole may not say where the
// next one begins, so they are looked for everywhere.
std::size_t FindFrame(std::string_view octets, std::size_t from) {
  while (from < octets.size() && !IsWhole(octets.substr(from))) ++from;
  return std::min(from, octets.size());
}

// Where the frame behind the one at the beginning of `octets`, which is not whole, can begin at the earliest. A record
// is its time and one message, and so says its length, too: where its frame says the same, all within is the record's
// own. A relay chooses some of it (body_hash), and may have made a whole frame of that. Where they differ, the next one
// may be anywhere.
std::size_t EarliestNext(std::string_view octets) {
  const auto length = LengthOf(octets);
  if (!length) return 1;
  const ByteView payload = AsBytes(octets.substr(kFrameOctets));
  google::protobuf::io::CodedInputStream record(payload.data(), static_cast<int>(payload.size()));
  constexpr std::uint32_t kKind = 7, kMessage = 2;  // of a tag: which kind of field; octets that follow their length
  std::uint64_t time = 0, message = 0;
  const bool read = record.ReadTag() == v1::Record::kTimeUsFieldNumber << 3 && record.ReadVarint64(&time) &&
                    (record.ReadTag() & kKind) == kMessage && record.ReadVarint64(&message);
  const auto before = static_cast<std::uint64_t>(record.CurrentPosition());
  return read && before < *length && message == *length - before ? kFrameOctets + *length : 1;
}

// Whether one of the file's blocks that `octets`, which stand at `offset`, have a part in has none but zeros of them.
bool LacksABlock(std::string_view octets, std::uint64_t offset) {
  while (!octets.empty()) {
    const auto part = octets.substr(0, kBlock - offset % kBlock);
    if (part.find_first_not_of('\0') == std::string_view::npos) return true;
    octets.remove_prefix(part.size());
    offset += part.size();
  }
  return false;
}

// Whether the file ends within the frame. That all of it is there, and its length alone is wrong, is no such end.
bool EndsEarly(std::string_view octets) {
  if (octets.size() < kFrameOctets) return true;
  const auto length = LengthOf(octets);
  return length && *length > octets.size() - kFrameOctets &&
         Crc32c(AsBytes(octets.substr(kFrameOctets))) != U32(octets.substr(4));
}

std::filesystem::path TornPath(const std::filesystem::path& segment, std::size_t number) {
  return segment.string() + ".torn" + (number == 1 ? "" : "." + std::to_string(number));
}

std::filesystem::path FreeTornPath(const std::filesystem::path& segment) {
  std::size_t number = 1;
  while (std::filesystem::exists(TornPath(segment, number))) ++number;
  return TornPath(segment, number);
}

}  // namespace

Status CheckTorn(const std::filesystem::path& segment, std::uint64_t offset) {
  const auto damage = [&](const std::string& why) {
    return MakeError(Reason::kInvalidArgument, why +
                                                   ": that is damage, and no write that was cut short. Nothing was "
                                                   "changed; docs/operations.md, The ledger, says what to do");
  };
  std::error_code failed;
  const std::uint64_t size = std::filesystem::file_size(segment, failed);
  if (failed) return MakeError(Reason::kIoFailed, segment.string() + ": " + failed.message());
  if (size - offset > kMostWritten) {
    return damage(std::to_string(size - offset) + " octets follow, more than one write has");
  }
  const auto rest = ReadFrom(segment, offset);
  if (!rest) return rest.error();
  const std::size_t next = FindFrame(*rest, EarliestNext(*rest));
  if (LacksABlock(std::string_view(*rest).substr(0, next), offset)) return Ok();
  if (next < rest->size()) {
    return damage("a whole record follows at offset " + std::to_string(offset + next) + ", and no block is missing");
  }
  return EndsEarly(*rest) ? Ok() : damage("nothing of the record is missing");
}

Result<bool> HasFrameBehind(const std::filesystem::path& segment, std::uint64_t offset) {
  const auto rest = ReadFrom(segment, offset);
  if (!rest) return rest.error();
  return FindFrame(*rest, 1) < rest->size();
}

Result<std::filesystem::path> KeepTorn(const std::filesystem::path& segment, std::uint64_t offset) {
  const auto rest = ReadFrom(segment, offset);
  if (!rest) return rest.error();
  const auto path = FreeTornPath(segment);
  const Status kept = WriteFileAtomically(path, *rest, 0600);
  if (!kept) return kept.error();
  return path;
}

Result<std::filesystem::path> PutAside(const std::filesystem::path& segment) {
  const auto path = FreeTornPath(segment);
  std::error_code failed;
  std::filesystem::rename(segment, path, failed);
  if (failed) return MakeError(Reason::kIoFailed, segment.string() + ": " + failed.message());
  const Status durable = SyncFolder(path.parent_path());
  if (!durable) return durable.error();
  return path;
}

std::vector<std::filesystem::path> TornFiles(const std::filesystem::path& segment) {
  std::vector<std::filesystem::path> files;
  std::error_code failed;
  std::filesystem::directory_iterator entries(segment.parent_path(), failed), end;
  for (; !failed && entries != end; entries.increment(failed)) {
    if (entries->path().filename().string().starts_with(segment.filename().string() + ".torn")) {
      files.push_back(entries->path());
    }
  }
  return files;
}

std::size_t CountTorn(const std::filesystem::path& ledger_directory) {
  std::size_t count = 0;
  std::error_code failed;
  std::filesystem::directory_iterator entries(ledger_directory / "segments", failed), end;
  for (; !failed && entries != end; entries.increment(failed)) {
    if (entries->path().filename().string().find(".seg.torn") != std::string::npos) ++count;
  }
  return count;
}

}  // namespace hallmark::ledger
