#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "signerd/ledger/checkpoint.h"
#include "signerd/ledger/ledger_file.h"
#include "signerd/ledger/segment.h"

namespace hallmark::ledger {

// The end of the ledger: the segment that is being written, and the tree of all that is durable. One thread at a time.
//
// What is in the tree is durable, and nothing else is in the segments for longer than a write takes: when one fails the
// file is cut back to what is durable before anything else is written. Until that succeeds every Append fails. After a
// failed sync the file's pages can't be trusted (the kernel may have dropped them and call them clean), so a new
// segment is begun.
class Tail {
 public:
  struct Config {
    std::filesystem::path directory;
    std::uint64_t segment_octets = 64u << 20;  // a segment is ended when it is longer
    OpenLedgerFile open = &OpenOnDisk;
  };

  // Reads the last segment and cuts off a torn tail: what was being written when the machine or the process stopped,
  // and nobody was told of. It is kept in a file beside the segment. `checkpointed`: the ledger must have so many
  // records, and they must be those, as far as the last segment shows: where it begins behind them nothing is compared,
  // for that would take the segments before it. kInvalidArgument when it has not, or when what would be cut off cannot
  // be what one write left (torn.h): that is damage. All is left as it is then.
  static Result<Tail> Open(Config config, const TreeHead& checkpointed, std::int64_t now_us);

  // Appends records and makes them durable, all or none: one write and one sync. kLedgerUnavailable says why not.
  Status Append(const std::vector<std::string>& records, std::int64_t now_us);
  // Whether the last Append failed and nothing was mended since.
  bool failing() const { return repair_ != Repair::kNone; }
  // Tries to mend: cuts back to what is durable, and sees whether there is room. kLedgerUnavailable.
  Status Mend(std::int64_t now_us);

  TreeHead head() const { return {tree_.size(), tree_.Root()}; }
  std::uint64_t size() const { return tree_.size(); }

 private:
  enum class Repair : std::uint8_t { kNone, kCutBack, kNewSegment };
  explicit Tail(Config config) : config_(std::move(config)) {}
  Status ReadLast(const SegmentFile& last, const TreeHead& checkpointed);
  Status Compare(const TreeHead& checkpointed) const;
  Status KeepRest(const std::filesystem::path& segment, const Error& bad);
  Status Begin(std::int64_t now_us);
  Error Unavailable(const Error& cause) const;

  Config config_;
  CompactTree tree_;
  std::unique_ptr<LedgerFile> file_;
  std::uint64_t first_ = 0;   // the segment's first record
  std::uint64_t length_ = 0;  // octets of the segment that are durable; 0: not even its beginning is
  std::uint64_t cut_ = 0;     // octets that Open() cut off
  Repair repair_ = Repair::kNone;
};

}  // namespace hallmark::ledger
