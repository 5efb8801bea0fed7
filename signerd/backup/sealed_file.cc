#include "signerd/backup/sealed_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hallmark::backup {
namespace {

// Tags of BER.
constexpr std::uint8_t kEnd = 0x00, kInteger = 0x02, kOctetString = 0x04, kOid = 0x06, kSequence = 0x30, kSet = 0x31,
                       kContext0 = 0xa0;
// id-smime-ct-authEnvelopedData (RFC 5083).
constexpr std::string_view kAuthEnveloped = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17";
constexpr std::uint64_t kMostAround = 1u << 20;  // octets before the content
constexpr std::size_t kMostHeader = 10;
constexpr std::uint64_t kCodeOctets = 16;  // of GCM

}  // namespace

Error SealedFile::NoBackup(const char* what) const {
  return MakeError(Reason::kInvalidArgument, name_ + ": is not a backup, or not all of one: " + what);
}

Result<SealedFile> SealedFile::Open(const std::filesystem::path& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat facts {};
  if (!file || ::fstat(file.get(), &facts) != 0) {
    return MakeError(errno == ENOENT ? Reason::kNotFound : Reason::kIoFailed,
                     path.string() + ": cannot open: " + std::strerror(errno));
  }
  SealedFile sealed(std::move(file), path.string(), static_cast<std::uint64_t>(facts.st_size));
  const Status found = sealed.FindContent();
  if (!found) return found.error();
  return sealed;
}

Result<std::string> SealedFile::Octets(std::uint64_t at, std::uint64_t count) const {
  std::string octets(static_cast<std::size_t>(count), '\0');
  std::size_t have = 0;
  while (have < octets.size()) {
    const ssize_t got = ::pread(file_.get(), octets.data() + have, octets.size() - have, static_cast<off_t>(at + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return MakeError(Reason::kIoFailed, name_ + ": cannot read: " + std::strerror(errno));
    if (got == 0) return NoBackup("it ends too early");
    have += static_cast<std::size_t>(got);
  }
  return octets;
}

Result<SealedFile::Element> SealedFile::At(std::uint64_t at) const {
  if (at + 2 > octets_) return NoBackup("it ends too early");
  const auto header = Octets(at, std::min<std::uint64_t>(kMostHeader, octets_ - at));
  if (!header) return header.error();
  const auto octet = [&](std::size_t i) { return static_cast<std::uint8_t>((*header)[i]); };
  Element element{octet(0), octet(1) == 0x80, at, at + 2, octet(1)};
  if (element.indefinite) element.length = 0;
  if (octet(1) > 0x80) {
    const std::size_t digits = octet(1) & 0x7f;
    if (digits > 5 || 2 + digits > header->size()) return NoBackup("a length is wrong");
    element.content += digits;
    element.length = 0;
    for (std::size_t i = 0; i < digits; ++i) element.length = element.length << 8 | octet(2 + i);
  }
  if (element.length > octets_ - element.content) return NoBackup("it ends too early");
  return element;
}

Result<SealedFile::Element> SealedFile::Expect(std::uint64_t at, std::uint8_t tag, bool indefinite) const {
  auto element = At(at);
  if (element && (element->tag != tag || element->indefinite != indefinite)) return NoBackup("it has another shape");
  return element;
}

// ContentInfo { OID, [0] { AuthEnvelopedData { version, recipientInfos, { OID, algorithm, [0] { piece ... } }, mac } }
// }
Status SealedFile::FindContent() {
  std::uint64_t at = 0;
  constexpr struct {
    std::uint8_t tag;
    bool open;  // what is in it follows
  } kWay[] = {{kSequence, true}, {kOid, false},     {kContext0, true}, {kSequence, true}, {kInteger, false},
              {kSet, false},     {kSequence, true}, {kOid, false},     {kSequence, false}};
  bool first = true;
  for (const auto& step : kWay) {
    const auto element = Expect(at, step.tag, step.open);
    if (!element) return element.error();
    if (step.tag == kOid && std::exchange(first, false)) {
      // No more than tells it from another one: a file may claim any length.
      const auto oid = Octets(element->content, std::min<std::uint64_t>(element->length, kAuthEnveloped.size() + 1));
      if (!oid) return oid.error();
      if (*oid != kAuthEnveloped) return NoBackup("it is another kind of CMS message");
    }
    at = step.open ? element->content : element->end();
    if (at > kMostAround) return NoBackup("it has too many recipients");
  }
  const auto content = Expect(at, kContext0, true);
  if (!content) return content.error();
  const std::uint64_t before = at;
  next_ = at = content->content;
  auto piece = At(at);
  while (piece && piece->tag == kOctetString && !piece->indefinite) {
    at = piece->end();
    piece = At(at);
  }
  if (!piece) return piece.error();
  const std::uint64_t behind = piece->content;
  // The content's end, that of what it is in, the code, and the ends of the rest; then the file ends.
  for (const std::uint8_t tag : {kEnd, kEnd, kOctetString, kEnd, kEnd, kEnd}) {
    const auto element = Expect(at, tag, false);
    if (!element) return element.error();
    // A shorter code would be guessed.
    if (element->length != (tag == kEnd ? 0 : kCodeOctets)) return NoBackup("its end has another shape");
    at = element->end();
  }
  if (at != octets_) return NoBackup("something stands behind it");
  const auto head = Octets(0, before);
  const auto tail = Octets(behind, octets_ - behind);
  if (!head || !tail) return head ? tail.error() : head.error();
  envelope_ = *head + *tail;
  return Ok();
}

Result<std::size_t> SealedFile::Read(char* out, std::size_t most) {
  while (piece_left_ == 0) {
    const auto piece = At(next_);
    if (!piece) return piece.error();
    if (piece->tag != kOctetString) return std::size_t{0};
    next_ = piece->content;
    piece_left_ = piece->length;
  }
  const auto octets = Octets(next_, std::min<std::uint64_t>(piece_left_, most));
  if (!octets) return octets.error();
  std::copy(octets->begin(), octets->end(), out);
  next_ += octets->size();
  piece_left_ -= octets->size();
  return octets->size();
}

}  // namespace hallmark::backup
