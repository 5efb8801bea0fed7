#include "signerd/ledger/tree_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace hallmark::ledger {
namespace {

constexpr std::size_t kMostPending = 64 << 10;
constexpr std::uint64_t kHashOctets = sizeof(Hash);

std::filesystem::path LevelPath(const std::filesystem::path& folder, unsigned level) {
  const std::string digits = std::to_string(level);
  return folder / (digits.size() < 2 ? "0" + digits : digits);
}

Error OutOfRange() { return MakeError(Reason::kInvalidArgument, "the ledger's hashes do not reach so far"); }

}  // namespace

Error TreeFiles::Failed(unsigned level, const char* doing) const {
  return MakeError(Reason::kIoFailed,
                   LevelPath(folder_, level).string() + ": cannot " + doing + ": " + std::strerror(errno));
}

Result<std::unique_ptr<TreeFiles>> TreeFiles::Open(const std::filesystem::path& ledger_directory, std::uint64_t size) {
  std::unique_ptr<TreeFiles> tree(new TreeFiles(ledger_directory / "hashes"));
  std::error_code failed;
  std::filesystem::create_directories(tree->folder_, failed);
  if (failed) return MakeError(Reason::kIoFailed, tree->folder_.string() + ": cannot create: " + failed.message());
  for (unsigned level = 0; level < kLevels; ++level) {
    Level& at = tree->levels_[level];
    const std::filesystem::path path = LevelPath(tree->folder_, level);
    at.first = size >> level;
    at.file = FileDescriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!at.file && errno != ENOENT) return tree->Failed(level, "open");
    struct stat facts {};
    if (at.file && ::fstat(at.file.get(), &facts) != 0) return tree->Failed(level, "read");
    if (static_cast<std::uint64_t>(facts.st_size) < at.first * kHashOctets) {
      return MakeError(Reason::kInvalidArgument, path.string() + ": ends before the records that were indexed");
    }
    at.is_open = static_cast<bool>(at.file);
    if (at.file && ::ftruncate(at.file.get(), static_cast<off_t>(at.first * kHashOctets)) != 0) {
      return tree->Failed(level, "cut");
    }
  }
  tree->size_ = tree->appended_ = size;
  auto nodes = tree->Frontier(size);
  if (!nodes) return nodes.error();
  tree->nodes_ = std::move(*nodes);
  return tree;
}

Status TreeFiles::AppendSubtree(unsigned level, const Hash& hash) {
  Hash merged = hash;
  unsigned at = level;
  std::uint64_t index = appended_ >> level;
  Status put = Put(at, index, merged);
  while (put && (appended_ >> at & 1) != 0) {
    merged = NodeHash(nodes_.back(), merged);
    nodes_.pop_back();
    put = Put(++at, index >>= 1, merged);
  }
  nodes_.push_back(merged);
  appended_ += std::uint64_t{1} << level;
  return put;
}

Status TreeFiles::Put(unsigned level, std::uint64_t index, const Hash& hash) {
  if (level >= kLevels) return OutOfRange();
  Level& at = levels_[level];
  if (index != at.first + at.pending.size() / kHashOctets) {  // after a hole
    const Status written = Write(level);
    if (!written) return written;
    at.first = index;
  }
  at.pending.append(AsText(hash));
  return at.pending.size() < kMostPending ? Ok() : Write(level);
}

Status TreeFiles::Write(unsigned level) {
  Level& at = levels_[level];
  if (at.pending.empty()) return Ok();
  if (!at.file) {
    at.file = FileDescriptor(::open(LevelPath(folder_, level).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!at.file) return Failed(level, "create");
    at.is_open.store(true, std::memory_order_release);
  }
  std::size_t done = 0;
  while (done < at.pending.size()) {
    const ssize_t count = ::pwrite(at.file.get(), at.pending.data() + done, at.pending.size() - done,
                                   static_cast<off_t>(at.first * kHashOctets + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failed(level, "write");
    done += static_cast<std::size_t>(count);
  }
  at.first += at.pending.size() / kHashOctets;
  at.pending.clear();
  return Ok();
}

Status TreeFiles::Flush() {
  for (unsigned level = 0; level < kLevels; ++level) {
    const Status written = Write(level);
    if (!written) return written;
  }
  size_.store(appended_, std::memory_order_release);
  return Ok();
}

Status TreeFiles::Sync() {
  for (unsigned level = 0; level < kLevels; ++level) {
    if (levels_[level].file && ::fdatasync(levels_[level].file.get()) != 0) return Failed(level, "sync");
  }
  return Ok();
}

Result<Hash> TreeFiles::Node(unsigned level, std::uint64_t index) const {
  const auto hole = [] {
    return MakeError(Reason::kNotFound, "the hashes of deleted records that this needs are not kept");
  };
  // As long as only larger subtrees were appended there is no such file.
  if (!levels_[level].is_open.load(std::memory_order_acquire)) return hole();
  Hash hash;
  ssize_t count = 0;
  do {
    count = ::pread(levels_[level].file.get(), hash.data(), hash.size(), static_cast<off_t>(index * kHashOctets));
  } while (count < 0 && errno == EINTR);
  if (count < 0) return Failed(level, "read");
  if (count != static_cast<ssize_t>(hash.size()) || hash == Hash{}) return hole();
  return hash;
}

Result<std::vector<Hash>> TreeFiles::Cover(std::uint64_t first, std::uint64_t count) const {
  if (first + count > size()) return OutOfRange();
  std::vector<Hash> nodes;
  for (const unsigned level : SubtreeLevels(first, count)) {
    const auto node = Node(level, first >> level);
    if (!node) return node.error();
    nodes.push_back(*node);
    first += std::uint64_t{1} << level;
  }
  return nodes;
}

// `first` is a multiple of a power of two that is not less than `count`, so what covers the range is as in a tree of
// its own.
Result<Hash> TreeFiles::RootOf(std::uint64_t first, std::uint64_t count) const {
  if (first + count > size()) return OutOfRange();
  std::vector<Hash> nodes;
  for (const unsigned level : SubtreeLevels(0, count)) {
    const auto node = Node(level, first >> level);
    if (!node) return node.error();
    nodes.push_back(*node);
    first += std::uint64_t{1} << level;
  }
  const auto tree = CompactTree::From(count, std::move(nodes));
  return tree->Root();
}

Result<std::vector<Hash>> TreeFiles::InclusionProof(std::uint64_t index, std::uint64_t size) const {
  if (index >= size || size > this->size()) return OutOfRange();
  std::vector<Hash> proof;
  std::uint64_t first = 0, count = size;
  while (count > 1) {
    const std::uint64_t left = std::bit_ceil(count) / 2;
    const bool in_left = index < first + left;
    const auto sibling = in_left ? RootOf(first + left, count - left) : RootOf(first, left);
    if (!sibling) return sibling.error();
    proof.push_back(*sibling);
    if (!in_left) first += left;
    count = in_left ? left : count - left;
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

}  // namespace hallmark::ledger
