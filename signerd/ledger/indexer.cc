#include "signerd/ledger/indexer.h"

#include <algorithm>

#include "firmware/runtime/log.h"

namespace hallmark::ledger {
namespace {

constexpr std::chrono::milliseconds kFollow{50};
constexpr std::chrono::seconds kAfterProblem{5};
constexpr std::uint64_t kBatch = 1024;

Error NotOpen() {
  return MakeError(Reason::kLedgerUnavailable, "the ledger's index is not open yet; try again in a moment");
}

}  // namespace

std::unique_ptr<Indexer> Indexer::Start(const std::filesystem::path& ledger_directory,
                                        std::function<std::uint64_t()> durable_size) {
  std::unique_ptr<Indexer> indexer(new Indexer(ledger_directory, std::move(durable_size)));
  indexer->thread_ = std::thread([self = indexer.get()] { self->Run(); });
  return indexer;
}

Indexer::~Indexer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Indexer::State Indexer::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

bool Indexer::WaitFor(std::uint64_t size, std::chrono::milliseconds most) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, most, [&] { return index_ != nullptr && state_.indexed >= size && !rebuild_; });
}

void Indexer::Rebuild() {
  {
    const std::lock_guard lock(mutex_);
    rebuild_ = state_.rebuilding = true;
    state_.indexed = 0;
    state_.problem.clear();
  }
  changed_.notify_all();
}

Result<std::shared_ptr<Index>> Indexer::index() const {
  const std::lock_guard lock(mutex_);
  if (index_ == nullptr) return NotOpen();
  return index_;
}

Result<std::shared_ptr<const TreeFiles>> Indexer::tree() const {
  const std::lock_guard lock(mutex_);
  if (tree_ == nullptr) return NotOpen();
  return std::shared_ptr<const TreeFiles>(tree_);
}

Result<SearchResult> Indexer::Search(const Query& query, const SearchPage& page) const {
  const auto open = index();
  if (!open) return open.error();
  return (*open)->Search(query, page);
}

Result<std::map<std::string, DayTotal>> Indexer::Totals(std::int64_t day) const {
  const auto open = index();
  if (!open) return open.error();
  return (*open)->Totals(day);
}

Status Indexer::DropBefore(std::uint64_t first, const std::function<bool()>& go_on) const {
  const auto open = index();
  if (!open) return open.error();
  return (*open)->DropBefore(first, go_on);
}

Result<std::string> Indexer::Record(std::uint64_t sequence) const {
  if (sequence >= durable_size_()) {
    return MakeError(Reason::kNotFound, "the ledger has no record " + std::to_string(sequence) + " yet");
  }
  std::optional<RecordReader::Place> near;
  if (const auto open = index()) {  // without it the record is only found more slowly
    if (auto place = (*open)->PlaceNear(sequence)) near = *place;
  }
  RecordReader reader(directory_);
  const auto octets = reader.Read(sequence, near);
  if (!octets) return octets.error();
  return std::string(*octets);
}

void Indexer::Run() {
  bool rebuild = false;
  while (true) {
    if (rebuild) RemoveDerived();
    const Status followed = Follow();
    reader_.reset();
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      rebuild = rebuild_;
      rebuild_ = false;
      index_.reset();
      tree_.reset();
      state_.problem = followed || rebuild ? "" : followed.error().message;  // made anew it may be right
    }
    if (followed) continue;
    log::error("the ledger's index does not go on: {}", followed.error().message);
    Wait(kAfterProblem);
  }
}

// Until it is to stop or to begin anew, or something fails.
Status Indexer::Follow() {
  Status done = OpenDerived();
  if (!done) {
    log::warn("the ledger's index is made anew: {}", done.error().message);
    RemoveDerived();
    done = OpenDerived();
  }
  bool made_anew = false;
  while (done) {
    const std::uint64_t size = durable_size_();
    done = CatchUp(size);
    if (!done && done.error().reason == Reason::kStateConflict && !made_anew) {
      // The hashes or the segment are wrong. Made anew they are right; then it is the segment.
      log::warn("the ledger's index is made anew: {}", done.error().message);
      made_anew = true;
      reader_.reset();
      RemoveDerived();
      done = OpenDerived();
      continue;
    }
    if (!done) break;
    {
      const std::lock_guard lock(mutex_);
      if (!rebuild_ && index_->size() >= size) state_.rebuilding = false;
      state_.problem.clear();
    }
    if (!Wait(kFollow)) break;
  }
  return done;
}

// False when the thread has something else to do.
bool Indexer::Wait(std::chrono::milliseconds interval) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, interval, [&] { return stop_ || rebuild_; });
}

Status Indexer::OpenDerived() {
  auto index = Index::Open(directory_);
  if (!index) return index.error();
  auto tree = TreeFiles::Open(directory_, (*index)->written());
  if (!tree) return tree.error();
  if ((*index)->written() > durable_size_()) {
    return MakeError(Reason::kInvalidArgument, "the index knows more records than the ledger has");
  }
  {
    const std::lock_guard lock(mutex_);
    index_ = std::move(*index);
    tree_ = std::move(*tree);
    if (!rebuild_) state_.indexed = index_->size();
  }
  return TakePruned();
}

// The hashes are those of this ledger where its segments' own frontiers say so.
Status Indexer::CheckFrontier(const SegmentHeader& header) const {
  const auto frontier = tree_->Frontier(header.first);
  if (!frontier) return frontier.error();
  if (*frontier == header.frontier) return Ok();
  return MakeError(Reason::kStateConflict,
                   "the hashes before record " + std::to_string(header.first) + " are not those that its segment says");
}

void Indexer::RemoveDerived() {
  {
    const std::lock_guard lock(mutex_);
    index_.reset();
    tree_.reset();
    state_.indexed = 0;
  }
  Index::Remove(directory_);
  std::error_code ignored;  // what cannot be removed fails when it is opened
  std::filesystem::remove_all(directory_ / "hashes", ignored);
}

// Of deleted segments the hashes that were kept; they all stand before the first that is whole.
Status Indexer::TakePruned() {
  const auto segments = ListSegments(directory_);
  if (!segments) return segments.error();
  for (const SegmentFile& file : *segments) {
    const std::uint64_t next = index_->size();
    if (!file.pruned) break;
    const auto pruned = ReadPruned(file.path);
    if (!pruned) return pruned.error();
    const std::uint64_t end = pruned->header.first + pruned->count;
    if (end <= next) continue;
    if (pruned->header.first != next) {
      return MakeError(Reason::kInvalidArgument, "records were deleted before they were indexed");
    }
    const std::vector<unsigned> levels = SubtreeLevels(next, pruned->count);
    for (std::size_t i = 0; i < levels.size(); ++i) {
      const Status appended = tree_->AppendSubtree(levels[i], pruned->nodes[i]);
      if (!appended) return appended;
    }
    index_->BeginAt(end);
  }
  return Publish();
}

Status Indexer::CatchUp(std::uint64_t size) {
  while (index_->size() < size) {
    const std::uint64_t next = index_->size();
    const bool fresh = !reader_ || reader_->next_sequence() != next;
    if (fresh) {
      auto segments = ListSegments(directory_);
      if (!segments) return segments.error();
      const auto after = std::upper_bound(segments->begin(), segments->end(), next,
                                          [](std::uint64_t n, const SegmentFile& file) { return n < file.first; });
      if (after == segments->begin()) return MakeError(Reason::kIoFailed, "the ledger's segments are missing");
      auto opened = SegmentReader::Open(std::prev(after)->path);
      if (!opened) return opened.error();
      const Status passed = opened->Skip(next - opened->next_sequence());
      if (!passed) return passed;
      const Status checked = CheckFrontier(opened->header());
      if (!checked) return checked;
      reader_.emplace(std::move(*opened));
    }
    reader_->Seek(reader_->offset(), next);  // the writer may have cut off what was read ahead
    const std::uint64_t end = std::min(size, next + kBatch);
    while (index_->size() < end) {
      const std::uint64_t offset = reader_->offset();
      const auto record = reader_->Next();
      if (!record) return record.error();
      if (!*record) break;
      const Status added = AddRecord(**record, offset);
      if (!added) return added;
    }
    const Status published = Publish();
    if (!published) return published;
    if (index_->size() == next) {
      // It goes on in the next segment. Where this one was just opened for the record, the record is missing.
      if (fresh) return MakeError(Reason::kIoFailed, "record " + std::to_string(next) + " is missing from the ledger");
      reader_.reset();
    }
    const std::lock_guard lock(mutex_);
    if (stop_ || rebuild_) return Ok();
  }
  return Ok();
}

Status Indexer::AddRecord(std::string_view octets, std::uint64_t offset) {
  if (!record_.ParseFromArray(octets.data(), static_cast<int>(octets.size()))) record_.Clear();
  Status done = tree_->Append(LeafHash(AsBytes(octets)));
  if (!done) return done;
  index_->Add(record_, offset);
  if (!index_->full()) return Ok();
  // The hashes first: the index says where both go on after a start.
  done = tree_->Flush();
  if (done) done = tree_->Sync();
  return done ? index_->WritePart() : done;
}

Status Indexer::Publish() {
  const Status flushed = tree_->Flush();
  if (!flushed) return flushed;
  {
    const std::lock_guard lock(mutex_);
    if (!rebuild_) state_.indexed = index_->size();  // otherwise it is about to go
  }
  changed_.notify_all();
  return Ok();
}

}  // namespace hallmark::ledger
