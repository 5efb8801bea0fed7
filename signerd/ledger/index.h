#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "signerd/ledger/record_reader.h"
#include "signerd/ledger/terms.h"
#include "signerd/store/sqlite.h"

namespace hallmark::ledger {

// What a partner sent on one day (UTC).
struct DayTotal {
  std::int64_t messages = 0, recipients = 0;
  friend bool operator==(const DayTotal&, const DayTotal&) = default;
};

struct Hit {
  std::uint64_t sequence = 0;
  std::string octets;  // the record as it stands in its segment
};

// Where a search goes on, and how far.
struct SearchPage {
  bool oldest_first = false;
  std::size_t most = 100;              // fewer where these are large
  std::optional<std::uint64_t> after;  // only what comes after this record in the order of the search
};

struct SearchResult {
  std::vector<Hit> hits;
  bool more = false;  // perhaps: go on after the last hit
};

// Finds records, and counts them by day and partner. Derived from the segments: index.db may be lost at any time.
//
// Records are indexed in parts of 32,768, or of fewer that have many recipients. The newest part is in memory; when it
// is full it is written in one transaction, as one row for each of its terms with the records that have it. All rows of
// a part are new and in order, so that SQLite appends and never looks for a place: this is what makes a record cost
// microseconds. After a start the newest part is read from the segments again.
//
// One thread adds; any thread searches.
class Index {
 public:
  static constexpr std::uint32_t kPartRecords = 1 << 15;
  // A record has one posting for each of its terms, and relays say how many recipients a message has. They take 16
  // octets each: a full part 16 MiB, and for a moment up to three times that, as their vector grows.
  static constexpr std::size_t kPartPostings = 1 << 20;

  // kStorageFailed: index.db cannot be used; make it anew.
  static Result<std::unique_ptr<Index>> Open(const std::filesystem::path& ledger_directory);
  // Removes index.db. No Index may be open.
  static void Remove(const std::filesystem::path& ledger_directory);

  // The first record that is not in a written part: where to go on after Open().
  std::uint64_t written() const { return written_; }
  // Records below this can be found. Any thread.
  std::uint64_t size() const;

  // The records before `sequence` are deleted; Add() begins there. Only while nothing was added.
  void BeginAt(std::uint64_t sequence);
  // Adds record number size(). `place`: its offset in its segment.
  void Add(const v1::Record& record, std::uint64_t offset);
  // Whether the newest part is full, so that it must be written before the next Add().
  bool full() const { return part_.count >= kPartRecords || part_.postings.size() >= kPartPostings; }
  Status WritePart();

  Result<SearchResult> Search(const Query& query, const SearchPage& page) const;
  // The place of a record that is not after this one, where it is known. Makes RecordReader quick.
  Result<std::optional<RecordReader::Place>> PlaceNear(std::uint64_t sequence) const;
  // By partner. `day`: days since 1970.
  Result<std::map<std::string, DayTotal>> Totals(std::int64_t day) const;
  // Forgets parts that lie wholly before `first`: their records are deleted. One transaction for each, or whoever adds
  // would wait too long; `go_on` is asked between two, may wait a little for their sake, and ends it with false.
  Status DropBefore(std::uint64_t first, const std::function<bool()>& go_on) const;

 private:
  struct Posting {
    Term term;
    std::uint32_t position;  // in the part
  };
  struct Part {
    std::uint64_t end() const { return first + count; }

    std::uint64_t first = 0;  // the record that has position 0
    std::uint32_t count = 0;
    std::int64_t least_us = INT64_MAX, most_us = INT64_MIN;
    std::vector<std::uint64_t> offsets;                               // of positions 0, 256, 512...
    std::vector<Posting> postings;                                    // by position; while it is written by term
    std::map<std::pair<std::int64_t, std::string>, DayTotal> totals;  // by day and partner
  };
  using Positions = std::vector<std::uint32_t>;
  class Searcher;

  Index(std::filesystem::path directory, store::Database database)
      : directory_(std::move(directory)), database_(std::move(database)) {}
  Status Prepare();
  Status InsertPart(store::Database& database);
  Status InsertPostings(store::Database& database);
  Status InsertTotals(store::Database& database);
  static Status DropPart(store::Database& database, std::int64_t first);
  Result<store::Database> OpenReader() const;

  const std::filesystem::path directory_;
  store::Database database_;  // of the adding thread
  std::uint64_t written_ = 0;
  mutable std::mutex mutex_;  // guards part_, and the moment when a part moves from memory into the database
  Part part_;
  std::vector<Term> terms_;  // of the adding thread: room for one record's terms
};

}  // namespace hallmark::ledger
