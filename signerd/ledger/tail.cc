#include "signerd/ledger/tail.h"

#include "firmware/runtime/log.h"
#include "signerd/ledger/torn.h"

namespace hallmark::ledger {
namespace {

// A segment's beginning is not longer.
constexpr std::uint64_t kMostHeader = 4096;
// How much room there must be for the ledger to go on after the disk was full.
constexpr std::uint64_t kRoom = 1u << 20;

// Whether a segment whose beginning cannot be read had one: records are written only when it is durable.
Result<bool> WasBegun(const std::filesystem::path& segment) {
  std::error_code failed;
  if (std::filesystem::file_size(segment, failed) > kMostHeader) return true;
  return HasFrameBehind(segment, kMagicOctets);
}

}  // namespace

Result<Tail> Tail::Open(Config config, const TreeHead& checkpointed, std::int64_t now_us) {
  Tail tail(std::move(config));
  const std::filesystem::path folder = tail.config_.directory / "segments";
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  std::filesystem::permissions(tail.config_.directory, std::filesystem::perms::owner_all, failed);
  if (failed) return MakeError(Reason::kIoFailed, folder.string() + ": " + failed.message());
  auto segments = ListSegments(tail.config_.directory);
  if (!segments) return segments.error();
  Status read = Ok();
  // The last one may not have got as far as its header; then nobody was told of anything in it, and it is put aside.
  while (!segments->empty()) {
    const SegmentFile last = segments->back();
    if (last.pruned) {
      return MakeError(Reason::kInvalidArgument,
                       last.path.string() + ": the ledger's last segment is missing: it ends with a deleted one");
    }
    read = tail.ReadLast(last, checkpointed);
    // A disk that cannot be read says nothing of what is on it.
    if (!read && read.error().reason != Reason::kInvalidArgument) return read.error();
    const auto begun = read || tail.length_ != 0 ? Result<bool>(true) : WasBegun(last.path);
    if (!begun) return begun.error();
    if (*begun || (segments->size() == 1 && last.first != 0)) break;
    const auto aside = PutAside(last.path);
    if (!aside) return aside.error();
    log::warn("ledger: {}: put aside as {}: it was being begun when the daemon ended", read.error().message,
              aside->filename().string());
    segments->pop_back();
    read = Ok();
  }
  if (!read) return read.error();
  if (tail.size() < checkpointed.size) {
    return MakeError(Reason::kInvalidArgument, tail.config_.directory.string() + ": the ledger has " +
                                                   std::to_string(tail.size()) + " records, but a checkpoint says " +
                                                   std::to_string(checkpointed.size) + ": it was cut off or put back");
  }
  if (segments->empty()) {
    const Status begun = tail.Begin(now_us);
    if (!begun) return begun.error();
  }
  return tail;
}

Status Tail::ReadLast(const SegmentFile& last, const TreeHead& checkpointed) {
  length_ = 0;
  auto reader = SegmentReader::Open(last.path);
  if (!reader) return reader.error();
  auto tree = CompactTree::From(reader->header().first, reader->header().frontier);
  if (!tree) return tree.error();
  tree_ = std::move(*tree);
  first_ = last.first;
  length_ = reader->offset();
  Status same = Compare(checkpointed);
  if (!same) return same;
  while (true) {
    const auto record = reader->Next();
    length_ = reader->offset();
    if (record && !*record) break;
    if (record) {
      tree_.Append(LeafHash(AsBytes(**record)));
      same = Compare(checkpointed);
      if (!same) return same;
      continue;
    }
    if (record.error().reason != Reason::kInvalidArgument) return record.error();
    if (tree_.size() < checkpointed.size) return record.error();
    const Status kept = KeepRest(last.path, record.error());
    if (!kept) return kept;
    break;
  }
  auto file = config_.open(last.path);
  if (!file) return file.error();
  file_ = std::move(*file);
  // What was read may be in the page cache only: a daemon that was killed before its sync told nobody of it, but from
  // here on a retry is answered from it.
  const Status done = cut_ == 0 ? Ok() : file_->Truncate(length_);
  return done ? file_->Sync() : done;
}

// A longer ledger may be another one, too, which the token must not sign.
Status Tail::Compare(const TreeHead& checkpointed) const {
  if (tree_.size() != checkpointed.size || checkpointed.size == 0 || tree_.Root() == checkpointed.root) return Ok();
  return MakeError(Reason::kInvalidArgument,
                   config_.directory.string() + ": the ledger is not the one that its newest checkpoint is of");
}

// Keeps what was being written when the machine or the process stopped, before it is cut off.
Status Tail::KeepRest(const std::filesystem::path& segment, const Error& bad) {
  const Status torn = CheckTorn(segment, length_);
  if (!torn) return MakeError(torn.error().reason, bad.message + "; " + torn.error().message);
  const auto kept = KeepTorn(segment, length_);
  if (!kept) return kept.error();
  std::error_code failed;
  cut_ = std::filesystem::file_size(segment, failed) - length_;
  if (failed) return MakeError(Reason::kIoFailed, segment.string() + ": " + failed.message());
  log::warn("ledger: {}: cut off {} octets that were being written when the daemon ended; {} has them", bad.message,
            cut_, kept->string());
  return Ok();
}

// A segment whose beginning is written together with its first records.
Status Tail::Begin(std::int64_t now_us) {
  auto file = config_.open(SegmentPath(config_.directory, tree_.size()));
  if (!file) return file.error();
  const std::string start = EncodeSegmentStart({tree_.size(), tree_.nodes(), now_us});
  Status done = (*file)->Truncate(0);
  if (done) done = (*file)->WriteAt(0, start);
  if (done) done = (*file)->Sync();
  if (!done) return done;
  file_ = std::move(*file);
  first_ = tree_.size();
  length_ = start.size();
  return Ok();
}

Error Tail::Unavailable(const Error& cause) const {
  return MakeError(Reason::kLedgerUnavailable, "the ledger cannot be written: " + cause.message);
}

Status Tail::Append(const std::vector<std::string>& records, std::int64_t now_us) {
  if (failing()) {
    const Status mended = Mend(now_us);
    if (!mended) return mended;
  }
  if (length_ > config_.segment_octets) {
    const Status begun = Begin(now_us);
    if (!begun) {  // the old segment is as it was
      repair_ = Repair::kNewSegment;
      return Unavailable(begun.error());
    }
  }
  CompactTree tree = tree_;
  std::string frames;
  for (const std::string& record : records) {
    AppendFrame(frames, record);
    tree.Append(LeafHash(AsBytes(record)));
  }
  Status done = file_->WriteAt(length_, frames);
  if (!done) {
    repair_ = Repair::kCutBack;
  } else {
    done = file_->Sync();
    if (!done) repair_ = Repair::kNewSegment;
  }
  if (!done) {
    const Error cause = done.error();
    static_cast<void>(Mend(now_us));  // what was written half goes at once where it can; otherwise failing() says so
    return Unavailable(cause);
  }
  length_ += frames.size();
  tree_ = std::move(tree);
  return Ok();
}

Status Tail::Mend(std::int64_t now_us) {
  if (!failing()) return Ok();
  Status done = file_->Truncate(length_);
  if (done) done = file_->Sync();
  if (done) done = file_->Reserve(length_, kRoom);
  if (done && repair_ == Repair::kNewSegment && tree_.size() != first_) done = Begin(now_us);
  if (!done) return Unavailable(done.error());
  repair_ = Repair::kNone;
  return Ok();
}

}  // namespace hallmark::ledger
