#include "signerd/backup/archive.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace hallmark::backup {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::uint64_t kMostOctets = (std::uint64_t{1} << 33) - 1;  // eleven octal digits

// Where the fields of a header are (POSIX.1, pax, "ustar Interchange Format").
struct Field {
  std::size_t at, size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kOwner{108, 8}, kGroup{116, 8}, kSize{124, 12}, kModified{136, 12},
    kSum{148, 8}, kType{156, 1}, kMagic{257, 8}, kPrefix{345, 155};
constexpr std::string_view kUstar{"ustar\00000", 8};

void Put(std::string& header, Field field, std::string_view text) {
  std::copy(text.begin(), text.end(), header.begin() + static_cast<std::ptrdiff_t>(field.at));
}

// Octal digits, as many as there is room for beside the NUL that ends them.
void PutNumber(std::string& header, Field field, std::uint64_t number) {
  for (std::size_t i = field.size - 1; i-- > 0; number >>= 3) {
    header[field.at + i] = static_cast<char>('0' + (number & 7));
  }
}

std::string_view TextOf(std::string_view header, Field field) {
  const std::string_view text = header.substr(field.at, field.size);
  return text.substr(0, text.find('\0'));
}

Result<std::uint64_t> NumberOf(std::string_view header, Field field) {
  std::string_view text = TextOf(header, field);
  text = text.substr(0, text.find(' '));
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number, 8);
  if (text.empty() || failed != std::errc() || end != text.data() + text.size()) {
    return MakeError(Reason::kInvalidArgument, "the archive has a header without a number where one must be");
  }
  return number;
}

// Over the header with blanks where the sum is.
std::uint64_t SumOf(std::string_view header) {
  std::uint64_t sum = kSum.size * ' ';
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (i < kSum.at || i >= kSum.at + kSum.size) sum += static_cast<std::uint8_t>(header[i]);
  }
  return sum;
}

std::uint64_t PaddingOf(std::uint64_t octets) { return (kBlock - octets % kBlock) % kBlock; }

// A long name is cut at a slash, which stands in neither part; 0: it need not be, npos: it cannot be.
std::size_t CutOf(const std::string& name) {
  if (name.size() <= kName.size) return 0;
  const std::size_t cut = name.rfind('/', kPrefix.size);
  const bool fits =
      cut != std::string::npos && cut != 0 && name.size() - cut - 1 <= kName.size && cut + 1 < name.size();
  return fits ? cut : std::string::npos;
}

Error NoArchive(const std::string& what) { return MakeError(Reason::kInvalidArgument, "the archive " + what); }

}  // namespace

Status ArchiveWriter::Begin(const std::string& name, std::uint64_t octets, std::int64_t modified) {
  const Status ended = EndFile();
  if (!ended) return ended;
  const std::size_t cut = CutOf(name);
  if (name.empty() || cut == std::string::npos || octets > kMostOctets) {
    return MakeError(Reason::kInvalidArgument, name + ": its name is too long for an archive, or the file too large");
  }
  std::string header(kBlock, '\0');
  Put(header, kName, std::string_view(name).substr(cut == 0 ? 0 : cut + 1));
  Put(header, kPrefix, std::string_view(name).substr(0, cut));
  PutNumber(header, kMode, 0600);
  PutNumber(header, kOwner, 0);
  PutNumber(header, kGroup, 0);
  PutNumber(header, kSize, octets);
  PutNumber(header, kModified, modified < 0 ? 0 : static_cast<std::uint64_t>(modified));
  Put(header, kType, "0");
  Put(header, kMagic, kUstar);
  PutNumber(header, kSum, SumOf(header));
  name_ = name;
  left_ = octets;
  padding_ = PaddingOf(octets);
  return sink_(header);
}

Status ArchiveWriter::Write(std::string_view octets) {
  if (octets.size() > left_) return MakeError(Reason::kIoFailed, name_ + ": became longer while it was read");
  left_ -= octets.size();
  return sink_(octets);
}

Status ArchiveWriter::EndFile() {
  if (left_ != 0) return MakeError(Reason::kIoFailed, name_ + ": became shorter while it was read");
  return sink_(std::string(std::exchange(padding_, 0), '\0'));
}

Status ArchiveWriter::Finish() {
  const Status ended = EndFile();
  return ended ? sink_(std::string(2 * kBlock, '\0')) : ended;
}

Status ArchiveReader::Take(std::string_view octets) {
  while (!octets.empty()) {
    std::size_t taken = 0;
    if (left_ != 0) {
      taken = static_cast<std::size_t>(std::min<std::uint64_t>(left_, octets.size()));
      left_ -= taken;
      Status done = handler_.octets(octets.substr(0, taken));
      if (done && left_ == 0) done = handler_.end();
      if (!done) return done;
    } else if (padding_ != 0) {
      taken = static_cast<std::size_t>(std::min<std::uint64_t>(padding_, octets.size()));
      padding_ -= taken;
    } else {
      taken = std::min(kBlock - block_.size(), octets.size());
      block_ += octets.substr(0, taken);
      if (block_.size() == kBlock) {
        const Status done = TakeBlock(std::exchange(block_, {}));
        if (!done) return done;
      }
    }
    octets.remove_prefix(taken);
  }
  return Ok();
}

Status ArchiveReader::TakeBlock(std::string_view block) {
  if (std::all_of(block.begin(), block.end(), [](char octet) { return octet == '\0'; })) {
    ++empty_blocks_;
    return Ok();
  }
  if (empty_blocks_ != 0) return NoArchive("goes on behind its end");
  return TakeHeader(block);
}

Status ArchiveReader::TakeHeader(std::string_view block) {
  if (block.substr(kMagic.at, kMagic.size) != kUstar) return NoArchive("is not one of a backup");
  const auto sum = NumberOf(block, kSum);
  if (!sum) return sum.error();
  if (*sum != SumOf(block)) return NoArchive("has a damaged header");
  if (block[kType.at] != '0') return NoArchive("has what no backup has: only regular files are in one");
  const auto octets = NumberOf(block, kSize);
  if (!octets) return octets.error();
  left_ = *octets;
  padding_ = PaddingOf(*octets);
  std::string name(TextOf(block, kPrefix));
  if (!name.empty()) name += "/";
  const Status begun = handler_.begin(name.append(TextOf(block, kName)), *octets);
  return begun && left_ == 0 ? handler_.end() : begun;
}

Status ArchiveReader::Finish() const {
  if (left_ == 0 && padding_ == 0 && block_.empty() && empty_blocks_ >= 2) return Ok();
  return NoArchive("was cut off");
}

}  // namespace hallmark::backup
