#pragma once

#include <optional>
#include <string>

#include "signerd/ledger/segment.h"

namespace hallmark::ledger {

// Records by their number. Quick where the place of one a little before is known, or when they are asked for in order;
// otherwise a segment is passed through from its beginning. Not thread-safe.
class RecordReader {
 public:
  // Where a record stands in its segment.
  struct Place {
    std::uint64_t sequence = 0, offset = 0;
  };

  explicit RecordReader(std::filesystem::path ledger_directory) : directory_(std::move(ledger_directory)) {}

  // The octets of a record, until the next call. `near`: the place of a record that is not after it. kNotFound: there
  // is none, or retention deleted it; kInvalidArgument: damage.
  Result<std::string_view> Read(std::uint64_t sequence, const std::optional<Place>& near = std::nullopt);
  // Records below this are deleted, as far as Read() came upon such.
  std::uint64_t first_kept() const { return first_kept_; }

 private:
  Status OpenSegmentOf(std::uint64_t sequence);
  const std::filesystem::path directory_;
  std::optional<SegmentReader> reader_;
  std::uint64_t start_ = 0;  // offset of its first record
  std::uint64_t end_ = 0;    // the first record of the segment after it; of the last one: none
  std::uint64_t first_kept_ = 0;
};

}  // namespace hallmark::ledger
