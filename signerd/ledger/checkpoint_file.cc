#include "signerd/ledger/checkpoint_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hallmark::ledger {
namespace {

constexpr std::size_t kPiece = 64 << 10;
// A note of ours has less than a thousand octets; other signers may have added lines to a copy.
constexpr std::size_t kMostNote = 64 << 10;
constexpr std::string_view kEmptyLine = "\n\n";

Error Failed(const std::filesystem::path& path, const char* doing) {
  return MakeError(Reason::kIoFailed, path.string() + ": cannot " + doing + ": " + std::strerror(errno));
}

struct OpenFile {
  FileDescriptor file;  // none where there is no such file
  std::uint64_t octets = 0;
};

Result<OpenFile> OpenToRead(const std::filesystem::path& path) {
  OpenFile opened{FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), 0};
  if (!opened.file && errno == ENOENT) return opened;
  struct stat facts {};
  if (!opened.file || ::fstat(opened.file.get(), &facts) != 0) return Failed(path, "open");
  opened.octets = static_cast<std::uint64_t>(facts.st_size);
  return opened;
}

// Up to `most` octets at `offset`; fewer where the file ends.
Result<std::string> ReadAt(const std::filesystem::path& path, const FileDescriptor& file, std::uint64_t offset,
                           std::size_t most) {
  std::string octets(most, '\0');
  std::size_t have = 0;
  while (have < most) {
    const ssize_t count = ::pread(file.get(), octets.data() + have, most - have, static_cast<off_t>(offset + have));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failed(path, "read");
    if (count == 0) break;
    have += static_cast<std::size_t>(count);
  }
  octets.resize(have);
  return octets;
}

// Where the last note in `text` ends, before `limit`: behind an empty line that follows a signature. npos: there is
// none. An empty line behind anything else is the one within a note.
std::size_t EndOfLastNote(std::string_view text, std::size_t limit) {
  while (true) {
    const std::size_t found = limit < kEmptyLine.size() ? text.npos : text.rfind(kEmptyLine, limit - kEmptyLine.size());
    if (found == text.npos) return found;
    const std::size_t before = found == 0 ? text.npos : text.rfind('\n', found - 1);
    const std::string_view line = text.substr(before == text.npos ? 0 : before + 1);
    if (line.starts_with(kSignatureLine)) return found + kEmptyLine.size();
    limit = found + 1;
  }
}

// The last note before `end`, without its empty line; `before`: where the one before it ends, npos: there is none.
std::string_view NoteBetween(std::string_view text, std::size_t before, std::size_t end) {
  const std::size_t from = before == text.npos ? 0 : before;
  return text.substr(from, end - 1 - from);
}

// A power cut leaves some blocks of what was being written, and zeros where the others should be. So the last note may
// look whole, and not be.
bool HasHole(std::string_view note) { return note.find('\0') != note.npos; }

}  // namespace

Result<NewestNote> NewestCheckpoint(const std::filesystem::path& file) {
  const auto opened = OpenToRead(file);
  if (!opened) return opened.error();
  if (opened->octets == 0) return NewestNote();
  const std::uint64_t window = std::min<std::uint64_t>(opened->octets, 2 * kMostNote);
  const std::uint64_t begin = opened->octets - window;
  const auto text = ReadAt(file, opened->file, begin, static_cast<std::size_t>(window));
  if (!text) return text.error();
  const auto end_before = [&text](std::size_t end) {
    return end == std::string::npos ? end : EndOfLastNote(*text, end - 1);
  };
  std::size_t end = EndOfLastNote(*text, text->size()), before = end_before(end);
  if (end != std::string::npos && HasHole(NoteBetween(*text, before, end))) {
    end = before;
    before = end_before(end);
  }
  if (end == std::string::npos && begin == 0) return NewestNote();
  if (end == std::string::npos || (before == std::string::npos && begin != 0)) {
    return MakeError(Reason::kInvalidArgument, file.string() + ": does not end as a file of checkpoints does");
  }
  NewestNote newest{std::string(NoteBetween(*text, before, end)), {}, begin + end};
  const auto head = ParseCheckpoint(newest.note);
  if (!head) return MakeError(head.error().reason, file.string() + ": " + head.error().message);
  newest.head = *head;
  return newest;
}

Result<CheckpointReader> CheckpointReader::Open(const std::filesystem::path& file, std::uint64_t most) {
  auto opened = OpenToRead(file);
  if (!opened) return opened.error();
  return CheckpointReader(file, std::move(opened->file), std::min(most, opened->octets));
}

Result<std::optional<std::string_view>> CheckpointReader::Next() {
  while (true) {
    const std::string_view rest = std::string_view(buffer_).substr(at_);
    const std::size_t note = EndOfNote(rest);
    if (note != std::string_view::npos) {
      const bool last = read_ == octets_ && note + 1 == rest.size();
      if (last && HasHole(rest.substr(0, note))) return std::optional<std::string_view>();
      at_ += note + 1;
      ++count_;
      return std::optional(rest.substr(0, note));
    }
    if (rest.size() > kMostNote) {
      return MakeError(Reason::kInvalidArgument,
                       path_.string() + ": checkpoint " + std::to_string(count_ + 1) + " is not one: it is too long");
    }
    const auto more = ReadMore();
    if (!more) return more.error();
    if (!*more) return std::optional<std::string_view>();
  }
}

// False at the end.
Result<bool> CheckpointReader::ReadMore() {
  const std::size_t wanted = std::min<std::uint64_t>(kPiece, octets_ - read_);
  if (wanted == 0) return false;
  auto piece = ReadAt(path_, file_, read_, wanted);
  if (!piece) return piece.error();
  if (piece->size() < wanted) octets_ = read_ + piece->size();  // it was cut off meanwhile
  read_ += piece->size();
  buffer_.erase(0, at_);
  at_ = 0;
  buffer_ += *piece;
  return !piece->empty();
}

}  // namespace hallmark::ledger
