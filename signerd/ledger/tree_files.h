#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "firmware/runtime/file.h"
#include "signerd/ledger/merkle.h"

namespace hallmark::ledger {

// The hashes of every complete subtree, derived from the segments: <ledger directory>/hashes/NN holds those of 2^NN
// leaves, 32 octets each, in order. From them any proof takes O(log n) reads. Where records were deleted before a
// rebuild only the large subtrees are known; the others are holes in the files.
//
// One thread appends; any thread reads.
class TreeFiles {
 public:
  // Opens or makes the files as those of the first `size` leaves; what goes beyond is cut off. kInvalidArgument when
  // they hold less: they must be made anew.
  static Result<std::unique_ptr<TreeFiles>> Open(const std::filesystem::path& ledger_directory, std::uint64_t size);

  // Appended leaves are there for readers after Flush(). An error leaves the object of no use.
  Status Append(const Hash& leaf) { return AppendSubtree(0, leaf); }
  // 2^level leaves by the hash of their subtree; the tree's size must be a multiple of 2^level.
  Status AppendSubtree(unsigned level, const Hash& hash);
  Status Flush();
  Status Sync();  // makes what was flushed durable

  // Leaves that readers may ask for.
  std::uint64_t size() const { return size_.load(std::memory_order_acquire); }

  // All of these: `size` and `index` within size(), else kInvalidArgument; kNotFound where a hash is a hole; kIoFailed.
  // The perfect subtrees that cover [0, size), largest first.
  Result<std::vector<Hash>> Frontier(std::uint64_t size) const { return Cover(0, size); }
  // Those that cover [first, first + count), left to right (SubtreeLevels).
  Result<std::vector<Hash>> Cover(std::uint64_t first, std::uint64_t count) const;
  Result<Hash> Root(std::uint64_t size) const { return RootOf(0, size); }
  // RFC 6962 section 2.1.1.
  Result<std::vector<Hash>> InclusionProof(std::uint64_t index, std::uint64_t size) const;

 private:
  static constexpr std::size_t kLevels = 48;
  struct Level {
    FileDescriptor file;  // the appending thread's; readers look at is_open first
    std::atomic<bool> is_open = false;
    std::string pending;      // hashes that are not written yet
    std::uint64_t first = 0;  // number of the first of them
  };
  explicit TreeFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}
  Status Put(unsigned level, std::uint64_t index, const Hash& hash);
  Status Write(unsigned level);
  Result<Hash> Node(unsigned level, std::uint64_t index) const;
  Result<Hash> RootOf(std::uint64_t first, std::uint64_t count) const;
  Error Failed(unsigned level, const char* doing) const;

  const std::filesystem::path folder_;
  std::array<Level, kLevels> levels_;
  std::vector<Hash> nodes_;  // of the tree with all that was appended
  std::uint64_t appended_ = 0;
  // Stored last by Flush(): who sees it sees the files and their content too.
  std::atomic<std::uint64_t> size_{0};
};

}  // namespace hallmark::ledger
