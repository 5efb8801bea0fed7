#include "signerd/pipeline/recall.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/ledger/segment.h"

namespace hallmark::pipeline {
namespace {

namespace form = hallmark::ledger::v1;

std::chrono::sys_seconds TimeOf(std::int64_t microseconds) {
  return std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(microseconds)));
}

// Puts answers together from their records, which stand one after the other. A power cut may leave the first of them
// and cut off the rest: that answer was never given, and others' records come where its own should be.
class Answers {
 public:
  // What this record ends, if it ends one.
  std::optional<PastAnswer> Take(const form::Record& record, std::uint64_t sequence) {
    const form::Signature& entry = record.signature();
    if (entry.index() == 0) Begin(record, sequence);
    const bool goes_on = begun_ && entry.index() == sequence - begun_->first && entry.count() == begun_->count &&
                         entry.relay() == begun_->relay && entry.request_id() == begun_->request_id;
    if (!goes_on) begun_.reset();
    if (!begun_ || entry.index() + 1 != begun_->count) return std::nullopt;
    return std::exchange(begun_, std::nullopt);
  }

 private:
  void Begin(const form::Record& record, std::uint64_t sequence) {
    begun_.reset();
    const form::Signature& entry = record.signature();
    const auto fingerprint = Fingerprint::From(entry.request_fingerprint());
    if (entry.request_id().empty() || entry.count() == 0 || !fingerprint) return;
    begun_ =
        PastAnswer{entry.relay(), entry.request_id(), *fingerprint, sequence, entry.count(), TimeOf(record.time_us())};
  }
  std::optional<PastAnswer> begun_;
};

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
  Answers answers;
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
      const auto answer = answers.Take(record, sequence);
      if (answer && answer->when >= since) take(*answer);
    }
  }
  return Ok();
}

}  // namespace hallmark::pipeline
