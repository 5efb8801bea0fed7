#include "signerd/ledger/verify.h"

#include <map>
#include <vector>

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
    if (!done) return done.error();
    result_.head = input_.durable();
    result_.end = EndOfWork();
    done = Walk();
    if (!done) return done.error();
    wanted_.erase(0);
    if (!wanted_.empty() && wanted_.rbegin()->first > result_.head.size) {
      return Wrong("the ledger has " + Number(result_.head.size) + " records, but a checkpoint is of " +
                   Number(wanted_.rbegin()->first) + ": it was cut off or put back");
    }
    if (result_.end == result_.head.size && tree_.Root() != result_.head.root) {
      return Wrong("the segments do not hold the records that were written: one of the last was changed or moved");
    }
    return result_;
  }

 private:
  // Signatures and order; their roots are looked at when the tree has come so far.
  Status TakeCheckpoints() {
    const std::filesystem::path file = input_.directory / "checkpoints";
    const auto notes = ReadCheckpoints(file);
    if (!notes) return notes.error();
    std::uint64_t before = 0;
    std::size_t signer = 0;
    for (std::size_t i = 0; i < notes->size(); ++i) {
      const std::string where = "checkpoints, checkpoint " + Number(i + 1);
      std::size_t number = 0;
      const auto head = OpenCheckpoint((*notes)[i], input_.keys, number);
      if (!head) return Wrong(where + ": " + head.error().message);
      if (number < signer) return Wrong(where + ": is signed with a key that was replaced before");
      signer = number;
      if (i != 0 && head->size <= before) {
        return Wrong(where + ": one of " + Number(head->size) + " records comes after one of " + Number(before));
      }
      before = head->size;
      Want(*head);
    }
    return TakeKept();
  }

  Status TakeKept() {
    // With or without the empty line that follows each in the ledger's own file; nothing of it is passed over.
    std::string text = input_.kept.substr(0, input_.kept.find_last_not_of('\n') + 1);
    if (!text.empty()) text += "\n\n";
    const auto notes = SplitCheckpoints(text);
    std::size_t octets = 0;
    for (const std::string& note : notes) octets += note.size() + 1;
    if (octets != text.size()) return Wrong("the checkpoint that was kept is not a signed note");
    for (const std::string& note : notes) {
      std::size_t number = 0;
      const auto head = OpenCheckpoint(note, input_.keys, number);
      if (!head) return Wrong("the checkpoint that was kept: " + head.error().message);
      Want(*head);
    }
    return Ok();
  }

  void Want(const TreeHead& head) { wanted_[head.size].push_back(head.root); }

  // The first checkpoint of all that is asked for; where there is none yet, what is durable.
  std::uint64_t EndOfWork() const {
    if (input_.end == 0) return result_.head.size;
    const auto found = wanted_.lower_bound(std::max(input_.end, tree_.size()));
    return found == wanted_.end() ? result_.head.size : std::min(found->first, result_.head.size);
  }

  Status Walk() {
    const auto segments = ListSegments(input_.directory);
    if (!segments) return segments.error();
    std::size_t begin = 0;
    while (begin + 1 < segments->size() && (*segments)[begin + 1].first <= input_.first) ++begin;
    for (std::size_t i = begin; i < segments->size() && (i == begin || tree_.size() < result_.end); ++i) {
      const std::uint64_t end = i + 1 < segments->size() ? (*segments)[i + 1].first : result_.end;
      Status done = (*segments)[i].pruned ? Pruned((*segments)[i].path) : Whole((*segments)[i].path, end);
      if (!done && !(*segments)[i].pruned && done.error().reason == Reason::kNotFound) {  // deleted meanwhile
        done = Pruned(SegmentPath(input_.directory, (*segments)[i].first, true));
      }
      if (!done) return done;
      // A checkpoint within deleted records says nothing of the tree; the next one does.
      if (tree_.size() > result_.end) result_.end = EndOfWork();
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
      wanted_.erase(wanted_.begin(), wanted_.upper_bound(header.first));
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
    std::size_t number = 0;
    const auto head = OpenCheckpoint(pruned->checkpoint, input_.keys, number);
    if (!head) return Wrong(name + ": its checkpoint: " + head.error().message);
    if (head->size < pruned->header.first + pruned->count) {
      return Wrong(name + ": was deleted before a checkpoint was of its records");
    }
    Want(*head);
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
    while (!wanted_.empty() && wanted_.begin()->first <= tree_.size()) {
      const auto& [size, roots] = *wanted_.begin();
      for (const Hash& root : roots) {
        if (size < tree_.size()) {
          result_.passed_by += size == 0 ? 0 : 1;
        } else if (root == tree_.Root()) {
          ++result_.checkpoints;
        } else {
          return Wrong(where + ": the checkpoint of " + Number(size) +
                       " records is not of these records: one of them was changed, removed, put in or moved");
        }
      }
      wanted_.erase(wanted_.begin());
    }
    if (one && tree_.size() % kProgressEvery != 0) return Ok();
    if (input_.progress(tree_.size() - result_.first, result_.end - result_.first)) return Ok();
    return MakeError(Reason::kCancelled, "the call was cancelled");
  }

  const VerifyInput& input_;
  std::map<std::uint64_t, std::vector<Hash>> wanted_;  // roots by size
  CompactTree tree_;
  bool begun_ = false;  // with the first segment
  Verified result_;
};

}  // namespace

Result<Verified> Verify(const VerifyInput& input) { return Verifier(input).Run(); }

}  // namespace hallmark::ledger
