#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "check.h"
#include "signerd/backup/archive.h"

// The archive in a backup, in pieces and whole: both give the same files. What is read, and can be written, reads the
// same again.
namespace {

using namespace hallmark;
using namespace hallmark::backup;

struct File {
  std::string name, content;
  std::uint64_t octets = 0;
  bool ended = false;
  friend bool operator==(const File&, const File&) = default;
};

struct Unpacked {
  std::vector<File> files;
  Status taken, finished;
};

Unpacked Unpack(std::string_view archive, std::string_view sizes) {
  Unpacked unpacked;
  ArchiveReader reader({[&](const std::string& name, std::uint64_t octets) {
                          Check(unpacked.files.empty() || unpacked.files.back().ended, "files do not overlap");
                          Check(name.find('\0') == std::string::npos, "a name is a text");
                          unpacked.files.push_back({name, "", octets});
                          return Ok();
                        },
                        [&](std::string_view octets) {
                          unpacked.files.back().content += octets;
                          return Ok();
                        },
                        [&] {
                          File& file = unpacked.files.back();
                          Check(file.content.size() == file.octets, "a file that ends has its octets");
                          file.ended = true;
                          return Ok();
                        }});
  InPieces(archive, sizes, [&](std::string_view piece) {
    if (unpacked.taken) unpacked.taken = reader.Take(piece);
  });
  unpacked.finished = reader.Finish();
  return unpacked;
}

std::optional<std::string> Pack(const std::vector<File>& files) {
  std::string archive;
  ArchiveWriter writer([&archive](std::string_view octets) {
    archive += octets;
    return Ok();
  });
  for (const File& file : files) {
    if (!writer.Begin(file.name, file.octets, 0)) return {};  // a name that cannot be written
    Check(writer.Write(file.content).has_value(), "a file takes its octets");
  }
  Check(writer.Finish().has_value(), "an archive ends");
  return archive;
}

// With the right sum in each header, which no change of its octets would keep.
std::string WithSums(std::string_view text) {
  std::string archive(text);
  constexpr std::size_t kBlock = 512, kSum = 148, kSumOctets = 8, kMagic = 257;
  for (std::size_t at = 0; at + kBlock <= archive.size(); at += kBlock) {
    if (archive.compare(at + kMagic, 5, "ustar") != 0) continue;
    archive.replace(at + kSum, kSumOctets, kSumOctets, ' ');
    unsigned sum = 0;
    for (std::size_t i = 0; i < kBlock; ++i) sum += static_cast<std::uint8_t>(archive[at + i]);
    char digits[kSumOctets];
    std::snprintf(digits, sizeof digits, "%06o", sum);
    archive.replace(at + kSum, kSumOctets - 1, digits, kSumOctets - 1);
  }
  return archive;
}

void Try(std::string_view input, std::string_view sizes) {
  const Unpacked whole = Unpack(input, {}), pieces = Unpack(input, sizes);
  Check(whole.files == pieces.files && whole.taken == pieces.taken && whole.finished == pieces.finished,
        "pieces change nothing");
  if (!whole.taken || !whole.finished) return;
  const auto packed = Pack(whole.files);
  if (!packed) return;
  const Unpacked again = Unpack(*packed, sizes);
  Check(again.taken && again.finished && again.files == whole.files, "what is packed is unpacked");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view sizes = TakeSizes(input);
  Try(input, sizes);
  Try(WithSums(input), sizes);
  return 0;
}
