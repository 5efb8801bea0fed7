#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"
#include "choices.h"
#include "signerd/ledger/tree_files.h"

// The ledger's files of hashes, which a crash or a disk may leave cut off, with holes, or longer than they should be.
// The input says what is appended, and what becomes of the files. What they then say of the tree is true, or an error.
namespace {

using namespace hallmark;
using namespace hallmark::ledger;
namespace fs = std::filesystem;

constexpr std::size_t kMostLeaves = 300;

// Of this process; removed when it ends as it should.
const fs::path& Folder() {
  struct Made {
    // In memory where there is such a folder: an input makes some hundred files.
    fs::path path = (fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path()) /
                    ("hallmark-fuzz-" + std::to_string(::getpid()));
    ~Made() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  };
  static const Made made;
  return made.path;
}

Hash Leaf(std::size_t number) { return LeafHash(AsBytes("record " + std::to_string(number))); }

// What the files should say, by RFC 6962 section 2.1.
Hash RootOf(std::size_t first, std::size_t count) {
  if (count == 0) return EmptyRoot();
  if (count == 1) return Leaf(first);
  std::size_t left = 1;
  while (2 * left < count) left *= 2;
  return NodeHash(RootOf(first, left), RootOf(first + left, count - left));
}

void CheckAnswer(const Status& answer) {
  if (answer) return;
  const Reason reason = answer.error().reason;
  Check(reason == Reason::kNotFound, "within the tree an error is a hole's");
}

// `holes`: some hash may be missing.
void CheckTree(const TreeFiles& tree, Choices& input, bool holes) {
  const std::size_t size = input.UpTo(tree.size());
  const auto root = tree.Root(size);
  Check(root || holes, "without holes there is a root");
  if (root) {
    Check(*root == RootOf(0, size), "a root is that of the leaves");
  } else {
    CheckAnswer(root.error());
  }
  const auto frontier = tree.Frontier(size);
  Check(frontier || holes, "without holes there is a frontier");
  if (frontier)
    Check(CompactTree::From(size, *frontier)->Root() == RootOf(0, size), "a frontier is that of the leaves");
  const std::size_t index = input.UpTo(kMostLeaves);
  const auto proof = tree.InclusionProof(index, size);
  Check(proof.has_value() || holes || index >= size, "without holes there is a proof");
  if (proof) Check(VerifyInclusion(Leaf(index), index, size, *proof, RootOf(0, size)), "a proof proves");
  Check(!tree.Root(tree.size() + 1), "there is nothing beyond the size");
}

// As after a crash. Never another hash than there was: files that lie are found out against the segments.
void Damage(Choices& input, bool& holes) {
  const std::string level = std::to_string(input.UpTo(9));
  const fs::path path = Folder() / "hashes" / ("0" + level);
  if (!fs::exists(path)) return;
  const std::size_t octets = fs::file_size(path);
  switch (input.UpTo(2)) {
    case 0: fs::resize_file(path, input.UpTo(octets)); break;
    case 1:
      fs::resize_file(path, octets + input.UpTo(100));
      holes = true;
      break;
    case 2: {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(input.UpTo(octets / sizeof(Hash)) * sizeof(Hash)));
      file << std::string(sizeof(Hash), '\0');
      holes = true;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices input(data, size);
  fs::remove_all(Folder());
  auto tree = TreeFiles::Open(Folder(), 0);
  Check(tree.has_value(), "there is a tree");
  bool holes = false;
  std::size_t leaves = 0;
  for (int step = 0; step < 24 && !input.empty(); ++step) {
    switch (input.UpTo(3)) {
      case 0:
        for (std::size_t more = input.UpTo(40); more != 0 && leaves < kMostLeaves; --more) {
          Check((*tree)->Append(Leaf(leaves++)).has_value(), "a leaf is appended");
        }
        break;
      case 1: {  // a subtree at once, as after a rebuild without the deleted records
        const unsigned level = static_cast<unsigned>(input.UpTo(6));
        const std::size_t count = std::size_t{1} << level;
        if (leaves % count != 0 || leaves + count > kMostLeaves) break;
        Check((*tree)->AppendSubtree(level, RootOf(leaves, count)).has_value(), "a subtree is appended");
        leaves += count;
        holes = holes || level != 0;
        break;
      }
      case 2:
        Check((*tree)->Flush().has_value() && (*tree)->size() == leaves, "all is flushed");
        CheckTree(**tree, input, holes);
        break;
      case 3: {
        leaves = std::min(leaves, input.UpTo(kMostLeaves));
        Damage(input, holes);
        auto opened = TreeFiles::Open(Folder(), leaves);
        if (!opened) {  // to be made anew
          const Reason reason = opened.error().reason;
          Check(reason == Reason::kInvalidArgument || (holes && reason == Reason::kNotFound),
                "files are too short, or have holes");
          return 0;
        }
        tree = std::move(opened);
        Check((*tree)->size() == leaves, "it has the size that was asked for");
      }
    }
  }
  return 0;
}
