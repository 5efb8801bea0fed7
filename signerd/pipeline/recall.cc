#include "signerd/pipeline/recall.h"

#include <algorithm>

#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/ledger/segment.h"

namespace hallmark::pipeline {
namespace {

namespace form = hallmark::ledger::v1;

std::chrono::sys_seconds TimeOf(std::int64_t microseconds) {
  return std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(microseconds)));
}

}  // namespace

Status RecallAnswers(const ledger::Ledger& ledger, std::chrono::sys_seconds since, std::uint64_t most,
                     const std::function<void(const PastAnswer&)>& take) {
  const auto segments = ledger::ListSegments(ledger.directory());
  if (!segments) return segments.error();
  const std::uint64_t size = ledger.durable().size;
  const std::uint64_t oldest = size > most ? size - most : 0;
  // Back to the segment that was begun before `since`, or that has the oldest record.
  std::vector<ledger::SegmentReader> readers;
  for (auto file = segments->rbegin(); file != segments->rend() && !file->pruned; ++file) {
    auto reader = ledger::SegmentReader::Open(file->path);
    if (!reader) return reader.error();
    const bool last = file->first <= oldest || TimeOf(reader->header().created_us) < since;
    readers.push_back(std::move(*reader));
    if (last) break;
  }
  form::Record record;
  for (auto reader = readers.rbegin(); reader != readers.rend(); ++reader) {
    if (reader->next_sequence() < oldest) {
      const Status passed = reader->Skip(oldest - reader->next_sequence());
      if (!passed) return passed;
    }
    while (reader->next_sequence() < size) {
      const std::uint64_t sequence = reader->next_sequence();
      const auto octets = reader->Next();
      if (!octets) return octets.error();
      if (!octets->has_value()) break;
      if (!record.ParseFromArray((*octets)->data(), static_cast<int>((*octets)->size()))) {
        return MakeError(Reason::kInvalidArgument, "record " + std::to_string(sequence) + " does not parse");
      }
      const form::Signature& entry = record.signature();
      // An answer whose last record did not make it into the ledger was never given.
      const bool whole = entry.index() == 0 && entry.count() > 0 && sequence + entry.count() <= size;
      const auto fingerprint = ledger::HashFrom(entry.request_fingerprint());
      const auto when = TimeOf(record.time_us());
      if (entry.request_id().empty() || !whole || !fingerprint || when < since) continue;
      take({entry.relay(), entry.request_id(), *fingerprint, sequence, entry.count(), when});
    }
  }
  return Ok();
}

}  // namespace hallmark::pipeline
