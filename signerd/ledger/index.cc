#include "signerd/ledger/index.h"

#include <algorithm>
#include <numeric>

namespace hallmark::ledger {
namespace {

constexpr std::int64_t kSchema = 3;
constexpr std::uint32_t kPlaceEvery = 256;
constexpr std::size_t kMostPageOctets = 8u << 20;
constexpr std::int64_t kMicrosecondsOfDay = 86'400'000'000;

constexpr const char* kTables = R"(
CREATE TABLE part (
  first INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  least_us INTEGER NOT NULL,
  most_us INTEGER NOT NULL,
  offsets BLOB NOT NULL
) STRICT;
CREATE TABLE posting (
  part INTEGER NOT NULL,
  term INTEGER NOT NULL,
  positions BLOB NOT NULL,
  PRIMARY KEY (part, term)
) STRICT, WITHOUT ROWID;
CREATE TABLE total (
  day INTEGER NOT NULL,
  partner TEXT NOT NULL,
  messages INTEGER NOT NULL,
  recipients INTEGER NOT NULL,
  PRIMARY KEY (day, partner)
) STRICT, WITHOUT ROWID;
)";

std::filesystem::path DatabasePath(const std::filesystem::path& directory) { return directory / "index.db"; }

// Whole numbers as LEB128: seven bits an octet, the low ones first.
void AppendNumber(Bytes& out, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) out.push_back(static_cast<std::uint8_t>(number | 0x80));
  out.push_back(static_cast<std::uint8_t>(number));
}

std::optional<std::uint64_t> TakeNumber(ByteView& octets) {
  std::uint64_t number = 0;
  for (unsigned shift = 0; shift < 64 && !octets.empty(); shift += 7) {
    const std::uint8_t octet = octets.front();
    octets = octets.subspan(1);
    number |= std::uint64_t{octet & 0x7fu} << shift;
    if ((octet & 0x80) == 0) return number;
  }
  return std::nullopt;
}

// The places of a part: offsets of every 256th record; 0: it cannot be read.
std::vector<std::uint64_t> TakeOffsets(ByteView octets) {
  std::vector<std::uint64_t> offsets;
  while (!octets.empty()) offsets.push_back(TakeNumber(octets).value_or(0));
  return offsets;
}

// Of the record itself or one a little before it, in the part that begins with `first`.
std::optional<RecordReader::Place> PlaceIn(std::uint64_t first, const std::vector<std::uint64_t>& offsets,
                                           std::uint64_t sequence) {
  const std::size_t place = (sequence - first) / kPlaceEvery;
  if (place >= offsets.size() || offsets[place] == 0) return std::nullopt;
  return RecordReader::Place{first + place * kPlaceEvery, offsets[place]};
}

Error Damaged() { return MakeError(Reason::kStorageFailed, "the ledger's index is damaged; rebuild it"); }

}  // namespace

Result<std::unique_ptr<Index>> Index::Open(const std::filesystem::path& ledger_directory) {
  auto database = store::Database::Open(DatabasePath(ledger_directory), store::Durability::kDerived);
  if (!database) return database.error();
  std::unique_ptr<Index> index(new Index(ledger_directory, std::move(*database)));
  const Status prepared = index->Prepare();
  if (!prepared) return prepared.error();
  return index;
}

void Index::Remove(const std::filesystem::path& ledger_directory) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::error_code ignored;  // what cannot be removed fails when it is opened
    std::filesystem::remove(DatabasePath(ledger_directory).string() + suffix, ignored);
  }
}

Status Index::Prepare() {
  auto version = database_.Prepare("PRAGMA user_version");
  if (!version) return version.error();
  const auto row = version->Step();
  if (!row) return row.error();
  const std::int64_t schema = version->Integer(0);
  if (schema != kSchema && schema != 0) return MakeError(Reason::kStorageFailed, "the ledger's index has another form");
  if (schema == 0) {
    const Status made = database_.Execute(std::string(kTables) + "PRAGMA user_version = " + std::to_string(kSchema));
    if (!made) return made;
  }
  auto last = database_.Prepare("SELECT first + count FROM part ORDER BY first DESC LIMIT 1");
  if (!last) return last.error();
  const auto found = last->Step();
  if (!found) return found.error();
  if (*found) part_.first = written_ = static_cast<std::uint64_t>(last->Integer(0));
  return Ok();
}

std::uint64_t Index::size() const {
  const std::lock_guard lock(mutex_);
  return part_.end();
}

void Index::BeginAt(std::uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  part_ = Part();
  part_.first = sequence;
}

void Index::Add(const v1::Record& record, std::uint64_t offset) {
  terms_.clear();
  AppendTerms(record, terms_);
  // Ten thousand recipients may be one: each term counts once.
  std::sort(terms_.begin(), terms_.end());
  terms_.erase(std::unique(terms_.begin(), terms_.end()), terms_.end());
  const std::lock_guard lock(mutex_);
  if (part_.count % kPlaceEvery == 0) part_.offsets.push_back(offset);
  for (const Term term : terms_) part_.postings.push_back({term, part_.count});
  part_.least_us = std::min(part_.least_us, record.time_us());
  part_.most_us = std::max(part_.most_us, record.time_us());
  ++part_.count;
  if (!record.has_signature() || record.signature().index() != 0) return;
  DayTotal& total = part_.totals[{record.time_us() / kMicrosecondsOfDay, record.signature().partner()}];
  total.messages += 1;
  // As quotas count: a message whose relay names no recipients has one.
  total.recipients += std::max<std::int64_t>(1, record.signature().recipient_count());
}

Status Index::WritePart() {
  {
    const std::lock_guard lock(mutex_);  // in place: a copy would be as large as the part
    // SQLite's integers have a sign: rows are appended in its order, not in that of unsigned numbers.
    std::sort(part_.postings.begin(), part_.postings.end(), [](const Posting& a, const Posting& b) {
      return a.term != b.term ? static_cast<std::int64_t>(a.term) < static_cast<std::int64_t>(b.term)
                              : a.position < b.position;
    });
  }
  auto transaction = store::Transaction::Begin(database_);
  if (!transaction) return transaction.error();
  Status done = InsertPart(database_);
  if (done) done = InsertPostings(database_);
  if (done) done = InsertTotals(database_);
  if (!done) return done;
  const std::lock_guard lock(mutex_);
  done = transaction->Commit();
  if (!done) return done;
  written_ = part_.end();
  part_ = Part();
  part_.first = written_;
  return Ok();
}

Status Index::InsertPart(store::Database& database) {
  auto insert = database.Prepare("INSERT INTO part VALUES (?, ?, ?, ?, ?)");
  if (!insert) return insert.error();
  Bytes offsets;
  for (const std::uint64_t offset : part_.offsets) AppendNumber(offsets, offset);
  insert->Bind(1, static_cast<std::int64_t>(part_.first)).Bind(2, std::int64_t{part_.count});
  insert->Bind(3, part_.least_us).Bind(4, part_.most_us).Bind(5, ByteView(offsets));
  return insert->Run();
}

Status Index::InsertPostings(store::Database& database) {
  auto insert = database.Prepare("INSERT INTO posting VALUES (?, ?, ?)");
  if (!insert) return insert.error();
  const std::vector<Posting>& postings = part_.postings;
  insert->Bind(1, static_cast<std::int64_t>(part_.first));
  Bytes positions;
  for (std::size_t i = 0; i < postings.size();) {
    const Term term = postings[i].term;
    positions.clear();
    std::uint32_t next = 0;
    for (; i < postings.size() && postings[i].term == term; ++i) {
      AppendNumber(positions, postings[i].position - next);
      next = postings[i].position + 1;
    }
    const Status done = insert->Bind(2, static_cast<std::int64_t>(term)).Bind(3, ByteView(positions)).Run();
    if (!done) return done;
  }
  return Ok();
}

Status Index::InsertTotals(store::Database& database) {
  auto insert = database.Prepare(
      "INSERT INTO total VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET messages = messages + excluded.messages, "
      "recipients = recipients + excluded.recipients");
  if (!insert) return insert.error();
  for (const auto& [key, total] : part_.totals) {
    insert->Bind(1, key.first).Bind(2, key.second).Bind(3, total.messages).Bind(4, total.recipients);
    const Status done = insert->Run();
    if (!done) return done;
  }
  return Ok();
}

Result<store::Database> Index::OpenReader() const {
  return store::Database::Open(DatabasePath(directory_), store::Durability::kDerived);
}

// One search: goes through the parts in order, and looks at what the terms leave of each.
class Index::Searcher {
 public:
  Searcher(const Index& index, const Query& query, const SearchPage& page)
      : index_(index), query_(query), page_(page), conditions_(TermsOf(query)), reader_(index.directory_) {}

  Result<SearchResult> Run() {
    auto database = index_.OpenReader();
    if (!database) return database.error();
    Part newest;  // without its postings
    Positions in_newest;
    {
      const std::lock_guard lock(index_.mutex_);
      newest.first = index_.part_.first;
      newest.count = index_.part_.count;
      newest.offsets = index_.part_.offsets;
      if (MayHold(index_.part_)) in_newest = PositionsInMemory(index_.part_);
    }
    Status done = page_.oldest_first ? Written(*database, newest.first) : Look(newest, in_newest);
    if (done && !full()) done = page_.oldest_first ? Look(newest, in_newest) : Written(*database, newest.first);
    if (!done) return done.error();
    result_.more = full();
    return std::move(result_);
  }

 private:
  bool full() const { return result_.hits.size() >= page_.most || octets_ >= kMostPageOctets; }

  // Whether a part's times and the page leave anything of it to look at.
  bool MayHold(const Part& part) const {
    if (part.count == 0 || part.most_us < query_.since_us || part.least_us >= query_.until_us) return false;
    if (part.end() <= reader_.first_kept()) return false;
    if (!page_.after) return true;
    return page_.oldest_first ? part.end() - 1 > *page_.after : part.first < *page_.after;
  }

  static Positions AllOf(const Part& part) {
    Positions all(part.count);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }

  Positions PositionsInMemory(const Part& part) const {
    if (conditions_.empty()) return AllOf(part);
    std::vector<Positions> found(conditions_.size());
    for (const Posting& posting : part.postings) {
      for (std::size_t i = 0; i < conditions_.size(); ++i) {
        if (std::find(conditions_[i].begin(), conditions_[i].end(), posting.term) != conditions_[i].end()) {
          found[i].push_back(posting.position);
        }
      }
    }
    for (Positions& one : found) {  // while the part is being written they are sorted by term
      std::sort(one.begin(), one.end());
      one.erase(std::unique(one.begin(), one.end()), one.end());
    }
    Positions all = found.front();
    for (std::size_t i = 1; i < found.size(); ++i) all = Intersection(all, found[i]);
    return all;
  }

  static Positions Intersection(const Positions& a, const Positions& b) {
    Positions both;
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
    return both;
  }

  // The parts in the database, in the order of the search. `end`: the newest part, which is in memory.
  Status Written(store::Database& database, std::uint64_t end) {
    auto parts = database.Prepare(
        std::string("SELECT first, count, least_us, most_us, offsets FROM part WHERE first < ? ORDER BY first ") +
        (page_.oldest_first ? "ASC" : "DESC"));
    if (!parts) return parts.error();
    auto posting = database.Prepare("SELECT positions FROM posting WHERE part = ? AND term = ?");
    if (!posting) return posting.error();
    parts->Bind(1, static_cast<std::int64_t>(end));
    while (!full()) {
      const auto row = parts->Step();
      if (!row) return row.error();
      if (!*row) return Ok();
      Part part;
      part.first = static_cast<std::uint64_t>(parts->Integer(0));
      if (parts->Integer(1) < 1 || parts->Integer(1) > kPartRecords) return Damaged();
      part.count = static_cast<std::uint32_t>(parts->Integer(1));
      part.least_us = parts->Integer(2);
      part.most_us = parts->Integer(3);
      if (!MayHold(part)) continue;
      const auto positions = PositionsWritten(*posting, part);
      if (!positions) return positions.error();
      if (positions->empty()) continue;
      part.offsets = TakeOffsets(parts->Blob(4));
      const Status looked = Look(part, *positions);
      if (!looked) return looked;
    }
    return Ok();
  }

  Result<Positions> PositionsWritten(store::Statement& posting, const Part& part) const {
    if (conditions_.empty()) return AllOf(part);
    Positions all;
    for (std::size_t i = 0; i < conditions_.size(); ++i) {
      Positions any;
      for (const Term term : conditions_[i]) {
        posting.Bind(1, static_cast<std::int64_t>(part.first)).Bind(2, static_cast<std::int64_t>(term));
        const auto row = posting.Step();
        if (!row) return row.error();
        const Bytes octets = *row ? posting.Blob(0) : Bytes();
        posting.Reset();
        Positions one, both;
        std::uint64_t next = 0;
        for (ByteView rest = octets; !rest.empty();) {
          const auto gap = TakeNumber(rest);
          if (!gap || *gap >= part.count || next + *gap >= part.count) return Damaged();
          one.push_back(static_cast<std::uint32_t>(next + *gap));
          next += *gap + 1;
        }
        std::set_union(any.begin(), any.end(), one.begin(), one.end(), std::back_inserter(both));
        any = std::move(both);
      }
      all = i == 0 ? std::move(any) : Intersection(all, any);
      if (all.empty()) break;
    }
    return all;
  }

  // Reads what the terms left of a part, and keeps what fits.
  Status Look(const Part& part, const Positions& positions) {
    for (std::size_t i = 0; i < positions.size() && !full(); ++i) {
      const std::uint32_t position = page_.oldest_first ? positions[i] : positions[positions.size() - 1 - i];
      const std::uint64_t sequence = part.first + position;
      if (sequence < reader_.first_kept()) continue;
      if (page_.after && (page_.oldest_first ? sequence <= *page_.after : sequence >= *page_.after)) continue;
      const auto octets = reader_.Read(sequence, PlaceIn(part.first, part.offsets, sequence));
      if (!octets && octets.error().reason == Reason::kNotFound) continue;  // deleted since it was indexed
      if (!octets) return octets.error();
      if (record_.ParseFromArray(octets->data(), static_cast<int>(octets->size())) && Fits(query_, record_)) {
        result_.hits.push_back({sequence, std::string(*octets)});
        octets_ += octets->size();
      }
    }
    return Ok();
  }

  const Index& index_;
  const Query& query_;
  const SearchPage& page_;
  const std::vector<std::vector<Term>> conditions_;
  RecordReader reader_;
  v1::Record record_;
  SearchResult result_;
  std::size_t octets_ = 0;  // of its hits
};

Result<SearchResult> Index::Search(const Query& query, const SearchPage& page) const {
  return Searcher(*this, query, page).Run();
}

Result<std::optional<RecordReader::Place>> Index::PlaceNear(std::uint64_t sequence) const {
  {
    const std::lock_guard lock(mutex_);
    if (sequence >= part_.first && part_.count != 0) return PlaceIn(part_.first, part_.offsets, sequence);
  }
  auto database = OpenReader();
  if (!database) return database.error();
  auto part = database->Prepare("SELECT first, offsets FROM part WHERE first <= ? ORDER BY first DESC LIMIT 1");
  if (!part) return part.error();
  const auto row = part->Bind(1, static_cast<std::int64_t>(sequence)).Step();
  if (!row) return row.error();
  if (!*row) return std::optional<RecordReader::Place>();
  return PlaceIn(static_cast<std::uint64_t>(part->Integer(0)), TakeOffsets(part->Blob(1)), sequence);
}

Result<std::map<std::string, DayTotal>> Index::Totals(std::int64_t day) const {
  std::map<std::string, DayTotal> totals;
  auto database = OpenReader();
  if (!database) return database.error();
  auto written = database->Prepare("SELECT partner, messages, recipients FROM total WHERE day = ?");
  if (!written) return written.error();
  written->Bind(1, day);
  const std::lock_guard lock(mutex_);  // so that a part is counted in memory or in the database, not in both
  while (true) {
    const auto row = written->Step();
    if (!row) return row.error();
    if (!*row) break;
    totals[written->Text(0)] = {written->Integer(1), written->Integer(2)};
  }
  for (const auto& [key, total] : part_.totals) {
    if (key.first != day) continue;
    DayTotal& sum = totals[key.second];
    sum.messages += total.messages;
    sum.recipients += total.recipients;
  }
  return totals;
}

Status Index::DropBefore(std::uint64_t first, const std::function<bool()>& go_on) const {
  auto database = OpenReader();
  if (!database) return database.error();
  // The last part stays, whatever it holds: it says where to go on.
  auto oldest = database->Prepare(
      "SELECT first, first + count FROM part WHERE first < (SELECT max(first) FROM part) "
      "ORDER BY first LIMIT 1");
  if (!oldest) return oldest.error();
  for (bool begun = false;; begun = true) {
    const auto row = oldest->Step();
    if (!row) return row.error();
    const std::int64_t part = *row ? oldest->Integer(0) : 0;
    const bool drop = *row && static_cast<std::uint64_t>(oldest->Integer(1)) <= first;
    oldest->Reset();
    if (!drop || (begun && !go_on())) return Ok();
    const Status dropped = DropPart(*database, part);
    if (!dropped) return dropped;
  }
}

Status Index::DropPart(store::Database& database, std::int64_t first) {
  auto transaction = store::Transaction::Begin(database);
  if (!transaction) return transaction.error();
  for (const char* text : {"DELETE FROM posting WHERE part = ?", "DELETE FROM part WHERE first = ?"}) {
    auto statement = database.Prepare(text);
    if (!statement) return statement.error();
    const Status done = statement->Bind(1, first).Run();
    if (!done) return done;
  }
  return transaction->Commit();
}

}  // namespace hallmark::ledger
