#include "signerd/ledger/segment.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>

#include "hallmark/ledger/v1/segment.pb.h"
#include "signerd/ledger/crc32c.h"

namespace hallmark::ledger {
namespace {

namespace form = hallmark::ledger::v1;

constexpr std::string_view kSegmentMagic = "HMLEDGR1", kPrunedMagic = "HMPRUNE1";
// Read at once: little after a jump, more and more when it goes on.
constexpr std::size_t kLeastRead = 8 << 10, kMostRead = 256 << 10;
constexpr std::size_t kNameDigits = 20;

void AppendU32(std::string& out, std::uint32_t number) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(number >> shift & 0xff));
}

std::uint32_t U32(std::string_view octets) {
  std::uint32_t number = 0;
  for (std::size_t i = 4; i > 0; --i) number = number << 8 | static_cast<std::uint8_t>(octets[i - 1]);
  return number;
}

form::SegmentHeader ToForm(const SegmentHeader& header) {
  form::SegmentHeader made;
  made.set_first(header.first);
  for (const Hash& hash : header.frontier) made.add_frontier(std::string(AsText(hash)));
  made.set_created_us(header.created_us);
  return made;
}

template <class Octets>
Result<std::vector<Hash>> HashesFrom(const Octets& list) {
  std::vector<Hash> hashes;
  for (const std::string& octets : list) {
    const auto hash = HashFrom(octets);
    if (!hash) return hash.error();
    hashes.push_back(*hash);
  }
  return hashes;
}

Result<SegmentHeader> FromForm(const form::SegmentHeader& made) {
  auto frontier = HashesFrom(made.frontier());
  if (!frontier) return frontier.error();
  if (const auto fits = CompactTree::From(made.first(), *frontier); !fits) return fits.error();
  return SegmentHeader{made.first(), std::move(*frontier), made.created_us()};
}

// A name that this ledger gives to a segment.
std::optional<SegmentFile> ParseName(const std::filesystem::path& path) {
  const std::string stem = path.stem().string(), extension = path.extension().string();
  SegmentFile file{path, 0, extension == ".pruned"};
  if ((!file.pruned && extension != ".seg") || stem.size() != kNameDigits) return std::nullopt;
  const auto [end, error] = std::from_chars(stem.data(), stem.data() + stem.size(), file.first);
  if (error != std::errc() || end != stem.data() + stem.size()) return std::nullopt;
  return file;
}

}  // namespace

void AppendFrame(std::string& out, std::string_view record) {
  AppendU32(out, static_cast<std::uint32_t>(record.size()));
  AppendU32(out, Crc32c(AsBytes(record)));
  out.append(record);
}

std::string EncodeSegmentStart(const SegmentHeader& header) {
  std::string out(kSegmentMagic);
  AppendFrame(out, ToForm(header).SerializeAsString());
  return out;
}

std::string EncodePruned(const PrunedSegment& pruned) {
  form::PrunedSegment made;
  *made.mutable_header() = ToForm(pruned.header);
  made.set_count(pruned.count);
  for (const Hash& hash : pruned.nodes) made.add_nodes(std::string(AsText(hash)));
  made.set_checkpoint(pruned.checkpoint);
  std::string out(kPrunedMagic);
  AppendFrame(out, made.SerializeAsString());
  return out;
}

Result<PrunedSegment> ReadPruned(const std::filesystem::path& path) {
  const auto damaged = [&](const std::string& what) {
    return MakeError(Reason::kInvalidArgument, path.string() + ": " + what);
  };
  const auto content = ReadFile(path, kMagicOctets + kFrameOctets + kMaxRecordOctets);
  if (!content) return content.error();
  std::string_view rest = *content;
  if (!rest.starts_with(kPrunedMagic)) return damaged("does not begin as a pruned segment does");
  rest.remove_prefix(kMagicOctets);
  if (rest.size() < kFrameOctets || U32(rest) != rest.size() - kFrameOctets) {
    return damaged("is not of the length that it says");
  }
  const std::string_view payload = rest.substr(kFrameOctets);
  if (Crc32c(AsBytes(payload)) != U32(rest.substr(4))) return damaged("is damaged: its CRC is wrong");
  form::PrunedSegment made;
  if (!made.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return damaged("is damaged");
  auto header = FromForm(made.header());
  if (!header) return damaged(header.error().message);
  auto nodes = HashesFrom(made.nodes());
  if (!nodes) return damaged(nodes.error().message);
  if (made.count() == 0 || made.count() > UINT64_MAX - header->first ||
      nodes->size() != SubtreeLevels(header->first, made.count()).size()) {
    return damaged("has not the hashes that " + std::to_string(made.count()) + " records need");
  }
  return PrunedSegment{std::move(*header), made.count(), std::move(*nodes), made.checkpoint()};
}

Result<SegmentReader> SegmentReader::Open(const std::filesystem::path& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return MakeError(errno == ENOENT ? Reason::kNotFound : Reason::kIoFailed,
                     path.string() + ": cannot open: " + std::strerror(errno));
  }
  SegmentReader reader(std::move(file), path);
  reader.Seek(0, 0);
  const Status read = reader.ReadHeader();
  if (!read) return read.error();
  return reader;
}

Status SegmentReader::ReadHeader() {
  const auto magic = View(kMagicOctets);
  if (!magic) return magic.error();
  if (*magic != kSegmentMagic) {
    return MakeError(Reason::kInvalidArgument, path_.string() + ": does not begin as a segment does");
  }
  offset_ = kMagicOctets;
  const auto frame = Frame(true);
  if (!frame) return frame.error();
  form::SegmentHeader made;
  if (!frame->has_value() || !made.ParseFromArray((*frame)->data(), static_cast<int>((*frame)->size()))) {
    return MakeError(Reason::kInvalidArgument, path_.string() + ": has no header");
  }
  auto header = FromForm(made);
  if (!header) return MakeError(Reason::kInvalidArgument, path_.string() + ": header: " + header.error().message);
  header_ = std::move(*header);
  offset_ += kFrameOctets + (*frame)->size();
  sequence_ = header_.first;
  return Ok();
}

Result<std::optional<std::string_view>> SegmentReader::Next() {
  auto frame = Frame(true);
  if (!frame || !frame->has_value()) return frame;
  offset_ += kFrameOctets + (*frame)->size();
  ++sequence_;
  return frame;
}

Status SegmentReader::Skip(std::uint64_t count) {
  for (; count > 0; --count) {
    const auto frame = Frame(false);
    if (!frame) return frame.error();
    if (!frame->has_value()) return Damage("the segment ends before it");
    offset_ += kFrameOctets + U32(**frame);
    ++sequence_;
  }
  return Ok();
}

void SegmentReader::Seek(std::uint64_t offset, std::uint64_t sequence) {
  offset_ = offset;
  sequence_ = sequence;
  buffer_.clear();
  buffer_at_ = offset;
  read_octets_ = kLeastRead;
}

Result<std::optional<std::string_view>> SegmentReader::Frame(bool payload) {
  const auto head = View(kFrameOctets);
  if (!head) return head.error();
  if (head->empty()) return std::optional<std::string_view>();
  if (head->size() < kFrameOctets) return Damage("the frame ends early");
  const std::uint32_t octets = U32(*head), crc = U32(head->substr(4));
  if (octets == 0 || octets > kMaxRecordOctets) return Damage("the frame's length is " + std::to_string(octets));
  if (!payload) return std::optional(*head);
  const auto frame = View(kFrameOctets + octets);
  if (!frame) return frame.error();
  if (frame->size() < kFrameOctets + octets) return Damage("the frame ends early");
  const std::string_view record = frame->substr(kFrameOctets);
  if (Crc32c(AsBytes(record)) != crc) return Damage("the frame's CRC is wrong");
  return std::optional(record);
}

Result<std::string_view> SegmentReader::View(std::size_t octets) {
  if (offset_ > buffer_at_ + buffer_.size()) Seek(offset_, sequence_);
  std::size_t at = static_cast<std::size_t>(offset_ - buffer_at_);
  if (buffer_.size() - at < octets) {
    buffer_.erase(0, at);
    buffer_at_ = offset_;
    at = 0;
    std::size_t have = buffer_.size();
    buffer_.resize(std::max(read_octets_, octets));
    read_octets_ = std::min(kMostRead, read_octets_ * 2);
    while (have < octets) {
      const ssize_t count =
          ::pread(file_.get(), buffer_.data() + have, buffer_.size() - have, static_cast<off_t>(buffer_at_ + have));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        buffer_.resize(have);
        return MakeError(Reason::kIoFailed, path_.string() + ": cannot read: " + std::strerror(errno));
      }
      if (count == 0) break;
      have += static_cast<std::size_t>(count);
    }
    buffer_.resize(have);
  }
  return std::string_view(buffer_).substr(at, octets);
}

Error SegmentReader::Damage(const std::string& what) const {
  return MakeError(Reason::kInvalidArgument, path_.string() + ": at offset " + std::to_string(offset_) + ", record " +
                                                 std::to_string(sequence_) + ": " + what);
}

Result<std::vector<SegmentFile>> ListSegments(const std::filesystem::path& ledger_directory) {
  const std::filesystem::path folder = ledger_directory / "segments";
  std::map<std::uint64_t, SegmentFile> found;
  std::error_code failed;
  std::filesystem::directory_iterator entries(folder, failed), end;
  if (failed == std::errc::no_such_file_or_directory) return std::vector<SegmentFile>();
  for (; !failed && entries != end; entries.increment(failed)) {
    auto file = ParseName(entries->path());
    if (!file) continue;
    auto [at, fresh] = found.try_emplace(file->first, *file);
    if (!fresh && !file->pruned) at->second = std::move(*file);
  }
  if (failed) return MakeError(Reason::kIoFailed, folder.string() + ": cannot read: " + failed.message());
  std::vector<SegmentFile> files;
  for (auto& [first, file] : found) files.push_back(std::move(file));
  if (!files.empty() && files.front().first != 0) {
    return MakeError(Reason::kInvalidArgument, folder.string() + ": the segments before record " +
                                                   std::to_string(files.front().first) + " are missing");
  }
  return files;
}

std::filesystem::path SegmentPath(const std::filesystem::path& ledger_directory, std::uint64_t first, bool pruned) {
  std::string digits = std::to_string(first);
  digits.insert(0, kNameDigits - digits.size(), '0');
  return ledger_directory / "segments" / (digits + (pruned ? ".pruned" : ".seg"));
}

}  // namespace hallmark::ledger
