#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/ledger/checkpoint.h"

namespace hallmark::ledger {

struct VerifyInput {
  std::filesystem::path directory;
  // Those that signed; the checkpoints of each come before those of the next. Asked when it is known which checkpoints
  // are read: one may take over at any time.
  std::function<Result<VerifierKeys>()> keys;
  std::string kept;  // checkpoints that an auditor kept, one or more notes; may be empty
  // Records [first, end) are read; end 0: to the end. first must be of a record that is durable.
  std::uint64_t first = 0, end = 0;
  // What is durable now: asked after the checkpoints were read, so that each of them is of no more.
  std::function<TreeHead()> durable;
  // Told now and then how far it is; false ends the work with kCancelled.
  std::function<bool(std::uint64_t done, std::uint64_t size)> progress;
};

struct Verified {
  TreeHead head;                  // how much is durable
  std::uint64_t first = 0;        // the first record that was read, or whose hash was where it is deleted
  std::uint64_t end = 0;          // behind the last one
  std::uint64_t deleted = 0;      // records from `first` on that retention deleted: their hashes were checked
  std::uint64_t checkpoints = 0;  // whose signature and root were checked
  std::uint64_t passed_by = 0;    // whose signature only: they are of a size within deleted records
  // Sizes of checkpoints in `kept` that no tree could be compared with: within deleted records, or outside of the part
  // that was read. Nothing is known of them, so that this is no success for who asked.
  std::vector<std::uint64_t> not_compared;
};
// That as a sentence, with the records that are deleted; empty when all were compared.
std::string NotCompared(const Verified& verified);

// Reads the ledger and checks frames, sequence, the tree that each segment was begun behind, and every checkpoint's
// signature, order and root, and that only the oldest are deleted. kInvalidArgument: the ledger is not whole, and the
// sentence says what is wrong and where. kIoFailed: it could not be read. kCancelled. The error of `keys`. Any thread,
// for long.
//
// Of a part it reads from the beginning of the segment that `first` is in, whose header has the tree before it, to the
// first checkpoint behind `end`: that its root comes out shows that header and records are those that were signed.
// Memory does not grow with the ledger. No segment may be deleted meanwhile (Ledger::KeepSegments).
Result<Verified> Verify(const VerifyInput& input);

}  // namespace hallmark::ledger
