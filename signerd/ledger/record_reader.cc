#include "signerd/ledger/record_reader.h"

#include <algorithm>

namespace hallmark::ledger {
namespace {

Error Deleted(std::uint64_t sequence) {
  return MakeError(Reason::kNotFound,
                   "record " + std::to_string(sequence) + " was deleted when its time to be kept had passed");
}

}  // namespace

Status RecordReader::OpenSegmentOf(std::uint64_t sequence) {
  if (reader_ && sequence >= reader_->header().first && sequence < end_) return Ok();
  // Once for all that is deleted: there may be thousands of segments, and a search asks for each record.
  if (sequence < first_kept_) return Deleted(sequence);
  reader_.reset();
  const auto segments = ListSegments(directory_);  // anew each time: the ledger goes on to further segments
  if (!segments) return segments.error();
  const auto after =
      std::upper_bound(segments->begin(), segments->end(), sequence,
                       [](std::uint64_t wanted, const SegmentFile& file) { return wanted < file.first; });
  if (after == segments->begin()) return MakeError(Reason::kNotFound, "the ledger is empty");
  const SegmentFile& file = *std::prev(after);
  if (file.pruned) {
    // The oldest go first: what is below the first whole one is gone for good.
    const auto kept = std::ranges::find(*segments, false, &SegmentFile::pruned);
    if (kept != segments->end()) first_kept_ = kept->first;
    return Deleted(sequence);
  }
  auto opened = SegmentReader::Open(file.path);
  if (!opened) return opened.error();
  start_ = opened->offset();
  end_ = after == segments->end() ? UINT64_MAX : after->first;
  reader_.emplace(std::move(*opened));
  return Ok();
}

Result<std::string_view> RecordReader::Read(std::uint64_t sequence, const std::optional<Place>& near) {
  const Status opened = OpenSegmentOf(sequence);
  if (!opened) return opened.error();
  const bool ahead = reader_->next_sequence() <= sequence;
  const bool use_place = near && near->sequence <= sequence && near->sequence >= reader_->header().first;
  if (use_place && (!ahead || near->sequence > reader_->next_sequence())) {
    reader_->Seek(near->offset, near->sequence);
  } else if (!ahead) {
    reader_->Seek(start_, reader_->header().first);
  }
  const Status passed = reader_->Skip(sequence - reader_->next_sequence());
  if (!passed) return passed.error();
  const auto record = reader_->Next();
  if (!record) return record.error();
  if (!*record) return MakeError(Reason::kNotFound, "there is no record " + std::to_string(sequence));
  return **record;
}

}  // namespace hallmark::ledger
