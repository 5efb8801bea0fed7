#include "signerd/ledger/verify.h"

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "signerd/ledger/checkpoint_file.h"
#include "signerd/ledger/segment.h"

namespace hallmark::ledger {
namespace {

constexpr std::uint64_t kProgressEvery = 4096;

Error Wrong(const std::string& what) { return MakeError(Reason::kInvalidArgument, what); }

std::string Number(std::uint64_t number) { return std::to_string(number); }

class Verifier {
 public:
  explicit Verifier(const VerifyInput& input) : input_(input) {}

  Result<Verified> Run() {
    Status done = TakeCheckpoints();
    if (done) done = TakeKept();
    if (!done) return done.error();
    result_.head = input_.durable();
    done = SetEnd();
    if (done) done = Walk();
    if (!done) return done.error();
    const std::uint64_t newest = others_.empty() ? newest_ : std::max(newest_, others_.rbegin()->first);
    if (newest > result_.head.size) {
      return Wrong("the ledger has " + Number(result_.head.size) + " records, but a checkpoint is of " +
                   Number(newest) + ": it was cut off or put back");
    }
    for (const auto& [size, others] : others_) PassBy(size, others);
    if (result_.end == result_.head.size && tree_.Root() != result_.head.root) {
      return Wrong("the segments do not hold the records that were written: one of the last was changed or moved");
    }
    return result_;
  }

 private:
  // A checkpoint that is not in the ledger's own file.
  struct Other {
    Hash root;
    bool kept;  // by an auditor
  };

  // Signatures and order of all; their roots are looked at when the tree has come so far, in a second reading.
  Status TakeCheckpoints() {
    auto reader = CheckpointReader::Open(file_);
    if (!reader) return reader.error();
    octets_ = reader->octets();
    auto keys = input_.keys();
    if (!keys) return keys.error();
    keys_ = std::move(*keys);
    std::size_t signer = 0;
    while (true) {
      const auto note = reader->Next();
      if (!note) return note.error();
      if (!*note) break;
      const std::string where = "checkpoints, checkpoint " + Number(reader->count());
      std::size_t number = 0;
      const auto head = OpenCheckpoint(**note, keys_, number);
      if (!head) return Wrong(where + ": " + head.error().message);
      if (number < signer) return Wrong(where + ": is signed with a key that was replaced before");
      signer = number;
      if (reader->count() != 1 && head->size <= newest_) {
        return Wrong(where + ": one of " + Number(head->size) + " records comes after one of " + Number(newest_));
      }
      newest_ = head->size;
    }
    auto again = CheckpointReader::Open(file_, octets_);
    if (!again) return again.error();
    own_.emplace(std::move(*again));
    return NextOwn();
  }

  Status NextOwn() {
    auto head = NextHead(*own_);
    if (!head) return head.error();
    next_ = *head;
    return Ok();
  }

  static Result<std::optional<TreeHead>> NextHead(CheckpointReader& reader) {
    const auto note = reader.Next();
    if (!note) return note.error();
    if (!*note) return std::optional<TreeHead>();
    const auto head = ParseCheckpoint(**note);
    if (!head) return head.error();
    return std::optional(*head);
  }

  Status TakeKept() {
    // With or without the empty line that follows each in the ledger's own file; nothing of it is passed over.
    std::string text = input_.kept.substr(0, input_.kept.find_last_not_of('\n') + 1);
    if (!text.empty()) text += "\n\n";
    if (text.empty() && !input_.kept.empty()) return Wrong("there is no checkpoint in what was kept");
    const auto notes = SplitCheckpoints(text);
    std::size_t octets = 0;
    for (const std::string& note : notes) octets += note.size() + 1;
    if (octets != text.size()) return Wrong("the checkpoint that was kept is not a signed note");
    for (const std::string& note : notes) {
      std::size_t number = 0;
      const auto head = OpenCheckpoint(note, keys_, number);
      if (!head) return Wrong("the checkpoint that was kept: " + head.error().message);
      if (head->size != 0) others_[head->size].push_back({head->root, true});
    }
    return Ok();
  }

  void PassBy(std::uint64_t size, const std::vector<Other>& others) {
    for (const Other& other : others) {
      result_.passed_by += 1;
      if (other.kept) result_.not_compared.push_back(size);
    }
  }

  // The first checkpoint of all that is asked for; where there is none yet, what is durable. Of more each time: the
  // reading goes on where it was.
  Status SetEnd() {
    result_.end = result_.head.size;
    if (input_.end == 0) return Ok();
    const std::uint64_t wanted = std::max(input_.end, tree_.size());
    if (!ends_) {
      auto reader = CheckpointReader::Open(file_, octets_);
      if (!reader) return reader.error();
      ends_.emplace(std::move(*reader));
      end_ = TreeHead();
    }
    while (end_ && end_->size < wanted) {
      const auto head = NextHead(*ends_);
      if (!head) return head.error();
      end_ = *head;
    }
    if (end_) result_.end = std::min(result_.end, end_->size);
    const auto other = others_.lower_bound(wanted);
    if (other != others_.end()) result_.end = std::min(result_.end, other->first);
    return Ok();
  }

  Status Walk() {
    const auto segments = ListSegments(input_.directory);
    if (!segments) return segments.error();
    const auto left = std::ranges::find(*segments, false, &SegmentFile::pruned);
    if (left != segments->end()) oldest_left_ = left->first;
    std::size_t begin = 0;
    while (begin + 1 < segments->size() && (*segments)[begin + 1].first <= input_.first) ++begin;
    for (std::size_t i = begin; i < segments->size() && (i == begin || tree_.size() < result_.end); ++i) {
      const std::uint64_t end = i + 1 < segments->size() ? (*segments)[i + 1].first : result_.end;
      Status done = (*segments)[i].pruned ? Pruned((*segments)[i].path) : Whole((*segments)[i].path, end);
      // A checkpoint within deleted records says nothing of the tree; the next one does.
      if (done && tree_.size() > result_.end) done = SetEnd();
      if (!done) return done;
    }
    if (tree_.size() == result_.end) return Ok();
    return Wrong("the segments end with " + Number(tree_.size()) + " records of " + Number(result_.end) +
                 ": the ledger was cut off");
  }

  Status CheckHeader(const std::filesystem::path& path, const SegmentHeader& header) {
    const std::string name = path.filename().string();
    if (!begun_) {
      begun_ = true;
      auto tree = CompactTree::From(header.first, header.frontier);
      if (!tree || header.first > input_.first) return Wrong(name + ": its header is not that of this segment");
      tree_ = std::move(*tree);
      result_.first = header.first;
      while (next_ && next_->size <= header.first) {
        const Status done = NextOwn();
        if (!done) return done;
      }
      for (; !others_.empty() && others_.begin()->first <= header.first; others_.erase(others_.begin())) {
        PassBy(others_.begin()->first, others_.begin()->second);
      }
    }
    if (header.first != tree_.size()) {
      return Wrong(name + ": begins with record " + Number(header.first) + ", but record " + Number(tree_.size()) +
                   " is next: records were removed or put in");
    }
    if (header.frontier != tree_.nodes()) return Wrong(name + ": was begun behind other records than those before it");
    return Ok();
  }

  Status Whole(const std::filesystem::path& path, std::uint64_t end) {
    auto reader = SegmentReader::Open(path);
    if (!reader) return reader.error();
    const Status header = CheckHeader(path, reader->header());
    if (!header) return header;
    while (tree_.size() < std::min(end, result_.end)) {
      const std::uint64_t offset = reader->offset();
      const auto record = reader->Next();
      if (!record) return record.error();
      if (!*record) {
        return Wrong(path.filename().string() + ", offset " + Number(offset) + ": ends before record " +
                     Number(tree_.size()) + ": records were removed or cut off");
      }
      tree_.Append(LeafHash(AsBytes(**record)));
      const Status done = AfterRecords(path.filename().string() + ", offset " + Number(offset), true);
      if (!done) return done;
    }
    return Ok();
  }

  // Of a deleted segment its hashes: with them the tree goes on to what is left.
  Status Pruned(const std::filesystem::path& path) {
    const std::string name = path.filename().string();
    const auto pruned = ReadPruned(path);
    if (!pruned) return pruned.error();
    Status done = CheckHeader(path, pruned->header);
    if (!done) return done;
    if (pruned->header.first > oldest_left_) {
      return Wrong(name + ": records " + Number(pruned->header.first) + " to " +
                   Number(pruned->header.first + pruned->count - 1) +
                   " are deleted, but older ones are there: retention deletes the oldest first, so it was not that");
    }
    std::size_t number = 0;
    const auto head = OpenCheckpoint(pruned->checkpoint, keys_, number);
    if (!head) return Wrong(name + ": its checkpoint: " + head.error().message);
    if (head->size < pruned->header.first + pruned->count) {
      return Wrong(name + ": was deleted before a checkpoint was of its records");
    }
    others_[head->size].push_back({head->root, false});
    const std::vector<unsigned> levels = SubtreeLevels(tree_.size(), pruned->count);
    if (levels.size() != pruned->nodes.size()) return Wrong(name + ": has not the hashes of its records");
    for (std::size_t i = 0; i < levels.size(); ++i) {
      tree_.AppendSubtree(levels[i], pruned->nodes[i]);
      done = AfterRecords(name, false);
      if (!done) return done;
    }
    result_.deleted += pruned->count;
    return Ok();
  }

  // Compares with the checkpoints of the size that the tree has now.
  Status AfterRecords(const std::string& where, bool one) {
    while (next_ && next_->size <= tree_.size()) {
      Status done = Compare(where, next_->size, {next_->root, false});
      if (done) done = NextOwn();
      if (!done) return done;
    }
    for (; !others_.empty() && others_.begin()->first <= tree_.size(); others_.erase(others_.begin())) {
      for (const Other& other : others_.begin()->second) {
        const Status done = Compare(where, others_.begin()->first, other);
        if (!done) return done;
      }
    }
    if (one && tree_.size() % kProgressEvery != 0) return Ok();
    if (input_.progress(tree_.size() - result_.first, result_.end - result_.first)) return Ok();
    return MakeError(Reason::kCancelled, "the call was cancelled");
  }

  Status Compare(const std::string& where, std::uint64_t size, const Other& other) {
    if (size < tree_.size()) {
      PassBy(size, {other});
    } else if (other.root == tree_.Root()) {
      ++result_.checkpoints;
    } else {
      return Wrong(where + ": the checkpoint of " + Number(size) +
                   " records is not of these records: one of them was changed, removed, put in or moved");
    }
    return Ok();
  }

  const VerifyInput& input_;
  const std::filesystem::path file_ = input_.directory / "checkpoints";
  std::uint64_t octets_ = 0;                            // of that file, as it was at the beginning
  VerifierKeys keys_;                                   // that signed what is in it
  std::uint64_t newest_ = 0;                            // size of its last one
  std::optional<CheckpointReader> own_;                 // the second reading
  std::optional<TreeHead> next_;                        // of it: the one that the tree comes to next
  std::optional<CheckpointReader> ends_;                // the third, where a part is read
  std::optional<TreeHead> end_;                         // of it: the first one of all that is asked for
  std::map<std::uint64_t, std::vector<Other>> others_;  // by size
  std::uint64_t oldest_left_ = UINT64_MAX;              // the first record of the oldest segment that is not deleted
  CompactTree tree_;
  bool begun_ = false;  // with the first segment
  Verified result_;
};

}  // namespace

std::string NotCompared(const Verified& verified) {
  if (verified.not_compared.empty()) return "";
  std::string text = "what is there is whole, but nothing is known of what was kept: ";
  text += verified.not_compared.size() == 1 ? "the checkpoint of "
                                            : Number(verified.not_compared.size()) + " checkpoints, the first of ";
  text += Number(verified.not_compared.front()) +
          " records, cannot be compared with it; within records that retention deleted there is no tree of that size, "
          "nor outside of the part that was read";
  if (verified.deleted == 0) return text;
  return text + "; of records " + Number(verified.first) + " to " + Number(verified.first + verified.deleted - 1) +
         " only hashes are left";
}

Result<Verified> Verify(const VerifyInput& input) { return Verifier(input).Run(); }

}  // namespace hallmark::ledger
