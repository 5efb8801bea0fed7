#include <string>

#include "check.h"
#include "memory_file.h"
#include "signerd/ledger/segment.h"

// A file of any octets, read as a segment and as what is kept of a deleted one: what reads encodes again, to the very
// octets it came from, and an error says where it stands.
namespace {

using namespace hallmark;
using namespace hallmark::ledger;

void ReadAsSegment(const std::filesystem::path& path, std::string_view octets) {
  auto reader = SegmentReader::Open(path);
  if (!reader) {
    Check(!reader.error().message.empty(), "a fault has a sentence");
    return;
  }
  std::string again(octets.substr(0, reader->offset()));  // protobuf leaves room for other forms of one header
  const std::uint64_t start = reader->offset();
  std::uint64_t records = 0;
  while (true) {
    const auto record = reader->Next();
    if (!record) {
      Check(reader->offset() == again.size(), "an error is where the bad frame begins");
      Check(!reader->Next(), "an error stays");
      break;
    }
    if (!*record) {
      Check(again == octets, "all of a file without an error was read");
      break;
    }
    AppendFrame(again, **record);
    ++records;
  }
  Check(octets.starts_with(again), "what reads encodes to the same");
  Check(reader->next_sequence() == reader->header().first + records, "records are counted");
  reader->Seek(start, reader->header().first);
  Check(reader->Skip(records).has_value(), "what reads can be passed by");
  Check(reader->offset() == again.size(), "and ends at the same place");
}

void ReadAsPruned(const std::filesystem::path& path) {
  const auto pruned = ReadPruned(path);
  if (!pruned) return;
  Check(pruned->nodes.size() == SubtreeLevels(pruned->header.first, pruned->count).size(),
        "the hashes are those needed");
  Check(CompactTree::From(pruned->header.first, pruned->header.frontier).has_value(), "the frontier is one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  const std::string_view octets(reinterpret_cast<const char*>(data), size);
  file.Write(octets);
  ReadAsSegment(file.path(), octets);
  ReadAsPruned(file.path());
  return 0;
}
