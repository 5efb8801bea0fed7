#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/canonical_kernel.h"
#include "signerd/dkim/header.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// What was seen of a body.
struct BodyFacts {
  LineFacts lines;
  bool ends_without_crlf = false;  // there is a body, and its last octet is no line end
  std::uint64_t octets = 0;
  std::uint64_t longest_line = 0;  // octets, without the line end
};

// Gives the canonical octets of a body (RFC 6376 sections 3.4.3 and 3.4.4) as it comes, in chunks cut anywhere. Bare CR
// and bare LF count as CRLF. Memory is constant: trailing empty lines are counted, not kept. What is canonical as it
// stands goes to the sink straight from the chunk, slice by slice, while it is in the first-level cache. A Sink is
// called with string views that are good during the call. Not thread-safe.
class BodyCanonicalizer {
 public:
  explicit BodyCanonicalizer(Canonicalization canonicalization, const CanonicalKernel& kernel = BestKernel())
      : relaxed_(canonicalization == Canonicalization::kRelaxed), kernel_(kernel) {}

  template <class Sink>
  void Push(std::string_view chunk, Sink& sink) {
    if (chunk.empty()) return;
    facts_.octets += chunk.size();
    std::size_t at = TakePending(chunk.front(), sink);
    std::size_t end = chunk.size();
    // What becomes of a CR or (relaxed) white space depends on the octet that follows.
    if (at < end && chunk.back() == '\r') pending_ = Pending::kCr;
    if (at < end && relaxed_ && IsWsp(chunk.back())) pending_ = Pending::kWhiteSpace;
    if (pending_ != Pending::kNothing) --end;
    while (at < end) {
      if (chunk[at] == '\n') {
        ++facts_.lines.bare_lf;
        EndLine();
        ++at;
        continue;
      }
      std::size_t stop = std::min(at + kSlice, end);
      if (stop < end && chunk[stop - 1] == '\r' && chunk[stop] == '\n') ++stop;
      Slice(chunk.substr(at, stop - at), stop < chunk.size() ? chunk[stop] : '\0', sink);
      at = stop;
    }
    if (pending_ == Pending::kWhiteSpace) ++lines_.open;
  }

  // The end of the body: at most one CRLF more.
  template <class Sink>
  void Finish(Sink& sink) {
    if (pending_ == Pending::kCr) {
      ++facts_.lines.bare_cr;
      EndLine();
    }
    facts_.ends_without_crlf = lines_.open != 0;
    lines_.End();
    facts_.longest_line = static_cast<std::uint64_t>(lines_.longest);
    // Simple: an empty body is one CRLF. Relaxed: it is nothing. A last line without its CRLF gets it.
    if (!relaxed_ || content_) sink(std::string_view("\r\n"));
  }

  // Whole after Finish().
  const BodyFacts& facts() const { return facts_; }

 private:
  static constexpr std::size_t kSlice = 8192;
  enum class Pending : std::uint8_t { kNothing, kCr, kWhiteSpace };

  // `next` follows what is pending. Gives how many octets of the chunk belong to it.
  template <class Sink>
  std::size_t TakePending(char next, Sink& sink) {
    const Pending pending = pending_;
    pending_ = Pending::kNothing;
    if (pending == Pending::kWhiteSpace && !IsFws(next)) Give(" ", sink);
    if (pending != Pending::kCr) return 0;
    EndLine();
    if (next == '\n') return 1;
    ++facts_.lines.bare_cr;
    return 0;
  }

  void EndLine() {
    lines_.End();
    ++line_ends_;
  }

  template <class Sink>
  void Slice(std::string_view slice, char next, Sink& sink) {
    if (kernel_.is_clean(relaxed_, slice, next, lines_)) {
      Give(slice, sink);
      return;
    }
    const Compacted compacted = kernel_.compact(relaxed_, slice, next, buffer_.data(), lines_);
    facts_.lines.bare_cr += compacted.bare_cr;
    facts_.lines.bare_lf += compacted.bare_lf;
    Give({buffer_.data(), compacted.octets}, sink);
  }

  // `text` is canonical but for the line ends at its end, which are only given when something follows.
  template <class Sink>
  void Give(std::string_view text, Sink& sink) {
    std::uint64_t line_ends = 0;
    while (text.ends_with("\r\n")) {
      text.remove_suffix(2);
      ++line_ends;
    }
    if (!text.empty()) {
      GiveLineEnds(sink);
      content_ = true;
      sink(text);
    }
    line_ends_ += line_ends;
  }

  template <class Sink>
  void GiveLineEnds(Sink& sink) {
    static constexpr std::string_view kLineEnds = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
    while (line_ends_ != 0) {
      const auto count = std::min<std::uint64_t>(line_ends_, kLineEnds.size() / 2);
      sink(kLineEnds.substr(0, count * 2));
      line_ends_ -= count;
    }
  }

  const bool relaxed_;
  const CanonicalKernel& kernel_;
  Pending pending_ = Pending::kNothing;
  bool content_ = false;         // something was given
  std::uint64_t line_ends_ = 0;  // seen and not given
  LineTally lines_;
  BodyFacts facts_;
  std::array<char, MaxCompacted(kSlice + 1)> buffer_;
};

}  // namespace hallmark::dkim
