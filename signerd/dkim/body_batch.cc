#include "signerd/dkim/body_batch.h"

namespace hallmark::dkim {
namespace {

// Longer bodies gain nothing: a job of the lanes cannot take them, and one stream of them fills the caches.
constexpr std::size_t kLongest = 65'000;
// Memory that is kept for the next batch.
constexpr std::size_t kKept = 4 << 20;

// Collects a canonical form. As long as it is what stands in the body, nothing is copied.
class Collector {
 public:
  Collector(std::string_view body, std::string& written) : body_(body), written_(written), begin_(written.size()) {}

  void operator()(std::string_view octets) {
    if (in_place_ && (octets.data() == body_.data() + size_ || octets == body_.substr(size_, octets.size()))) {
      size_ += octets.size();
      return;
    }
    if (in_place_) written_.append(body_.substr(0, size_));
    in_place_ = false;
    written_.append(octets);
    size_ += octets.size();
  }

  bool in_place() const { return in_place_; }
  std::size_t begin() const { return begin_; }
  std::size_t size() const { return size_; }

 private:
  const std::string_view body_;
  std::string& written_;
  const std::size_t begin_;
  std::size_t size_ = 0;
  bool in_place_ = true;
};

}  // namespace

void BodyBatch::Add(Canonicalization canonicalization, std::string_view octets) {
  Entry& entry = entries_.emplace_back();
  if (octets.size() > kLongest) {
    BodyHasher hasher(canonicalization);
    hasher.Push(octets);
    entry.body = {hasher.Finish(), hasher.facts()};
    entry.hashed = true;
    return;
  }
  Collector collector(octets, written_);
  BodyCanonicalizer canonicalizer(canonicalization, kernel_);
  canonicalizer.Push(octets, collector);
  canonicalizer.Finish(collector);
  entry.body = {{{}, collector.size()}, canonicalizer.facts()};
  entry.in_place = collector.in_place() ? octets.data() : nullptr;
  entry.begin = collector.begin();
  entry.size = collector.size();
}

std::vector<HashedBody> BodyBatch::Hash() {
  std::vector<std::string_view> forms;
  for (const Entry& entry : entries_) {
    if (entry.hashed) continue;
    forms.emplace_back(entry.in_place != nullptr ? entry.in_place : written_.data() + entry.begin, entry.size);
  }
  const std::vector<Digest> digests = hash_.Hash(forms);
  std::vector<HashedBody> bodies;
  bodies.reserve(entries_.size());
  auto digest = digests.begin();
  for (Entry& entry : entries_) {
    if (!entry.hashed) entry.body.hash.digest = *digest++;
    bodies.push_back(entry.body);
  }
  entries_.clear();
  if (written_.capacity() > kKept) written_ = {};
  written_.clear();
  return bodies;
}

}  // namespace hallmark::dkim
