#include "signerd/dkim/body_hasher.h"

#include <cstring>

namespace hallmark::dkim {

BodyHasher::BodyHasher(Canonicalization canonicalization, std::optional<std::uint64_t> limit)
    : canonicalizer_(canonicalization), limit_(limit) {}

void BodyHasher::Push(std::string_view chunk) {
  auto sink = [this](std::string_view octets) { Take(octets); };
  canonicalizer_.Push(chunk, sink);
}

BodyHash BodyHasher::Finish() {
  auto sink = [this](std::string_view octets) { Take(octets); };
  canonicalizer_.Finish(sink);
  Flush();
  return {hash_.Finish(), hashed_};
}

void BodyHasher::Take(std::string_view octets) {
  canonical_octets_ += octets.size();
  if (limit_)
    octets = octets.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(octets.size(), *limit_ - hashed_)));
  hashed_ += octets.size();
  if (octets.size() > buffer_.size() - used_) Flush();
  if (octets.size() >= buffer_.size()) {
    hash_.Update(octets);
    return;
  }
  std::memcpy(buffer_.data() + used_, octets.data(), octets.size());
  used_ += octets.size();
}

void BodyHasher::Flush() {
  hash_.Update({buffer_.data(), used_});
  used_ = 0;
}

}  // namespace hallmark::dkim
