#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/file.h"
#include "firmware/runtime/result.h"
#include "signerd/ledger/merkle.h"

// The ledger's files: <ledger directory>/segments/<first record, 20 digits>.seg, and .pruned for what is kept of one
// that retention deleted. A file is 8 octets of magic, then frames: u32 length, u32 CRC-32C of the payload (both
// little-endian), payload. A segment's first frame is its SegmentHeader; each further one is a record.
namespace hallmark::ledger {

constexpr std::size_t kMagicOctets = 8, kFrameOctets = 8;
constexpr std::size_t kMaxRecordOctets = 1u << 20;

struct SegmentHeader {
  std::uint64_t first = 0;     // its first record's sequence number
  std::vector<Hash> frontier;  // the perfect subtrees that cover [0, first), largest first
  std::int64_t created_us = 0;
};

struct PrunedSegment {
  SegmentHeader header;
  std::uint64_t count = 0;  // records it had
  std::vector<Hash> nodes;  // the perfect subtrees that cover them (SubtreeLevels), left to right
  std::string checkpoint;   // the newest signed note when it was deleted
};

// Magic and first frame. A header has a time, so its frame is never empty.
std::string EncodeSegmentStart(const SegmentHeader& header);
// Appends one record's frame. `record` has 1 to kMaxRecordOctets octets.
void AppendFrame(std::string& out, std::string_view record);
std::string EncodePruned(const PrunedSegment& pruned);

// kNotFound, kIoFailed; kInvalidArgument says what is wrong with the file. Any thread.
Result<PrunedSegment> ReadPruned(const std::filesystem::path& path);

// Reads a segment from its beginning, in large pieces. The file may grow meanwhile: after "nothing", Next() reads what
// has come since. Not thread-safe.
class SegmentReader {
 public:
  // Reads the header. kNotFound, kIoFailed; kInvalidArgument: not a segment, or one whose header is damaged.
  static Result<SegmentReader> Open(const std::filesystem::path& path);

  const SegmentHeader& header() const { return header_; }
  const std::filesystem::path& path() const { return path_; }

  // The next record, until the next call; nothing at the end. kInvalidArgument is damage or a torn tail: offset() is
  // then where the bad frame begins, and stays there.
  Result<std::optional<std::string_view>> Next();
  // Passes `count` records by without a look at their octets. kInvalidArgument when there are fewer.
  Status Skip(std::uint64_t count);
  // Goes on at a frame whose place is known, and forgets what was read ahead: a writer that failed may have cut it off
  // and written something else.
  void Seek(std::uint64_t offset, std::uint64_t sequence);

  std::uint64_t offset() const { return offset_; }           // where the next frame begins
  std::uint64_t next_sequence() const { return sequence_; }  // of the next record

 private:
  SegmentReader(FileDescriptor file, std::filesystem::path path) : file_(std::move(file)), path_(std::move(path)) {}
  Status ReadHeader();
  // The frame at offset_ as a whole, or nothing at the end of the file.
  Result<std::optional<std::string_view>> Frame(bool payload);
  // As much of [offset_, offset_ + octets) as the file has.
  Result<std::string_view> View(std::size_t octets);
  Error Damage(const std::string& what) const;

  FileDescriptor file_;
  std::filesystem::path path_;
  SegmentHeader header_;
  std::uint64_t offset_ = 0, sequence_ = 0;
  std::string buffer_;  // octets of the file from buffer_at_ on
  std::uint64_t buffer_at_ = 0;
  std::size_t read_octets_ = 0;
};

struct SegmentFile {
  std::filesystem::path path;
  std::uint64_t first = 0;
  bool pruned = false;
};

// The segments of a ledger, in order; of one that is there both whole and pruned, the whole one (a deletion that was
// cut short). kIoFailed, and kInvalidArgument when the first is missing. None at all is no error. Any thread.
Result<std::vector<SegmentFile>> ListSegments(const std::filesystem::path& ledger_directory);
// segments/00000000000000000042.seg
std::filesystem::path SegmentPath(const std::filesystem::path& ledger_directory, std::uint64_t first,
                                  bool pruned = false);

}  // namespace hallmark::ledger
