#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/header.h"
#include "signerd/dkim/line_ends.h"
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
// and bare LF count as CRLF. Memory is constant: trailing empty lines are counted, not kept. Octets that stay as they
// are go to the sink in long runs straight from the chunk, many lines at once. A Sink is called with string views that
// are good during the call. Not thread-safe.
class BodyCanonicalizer {
 public:
  explicit BodyCanonicalizer(Canonicalization canonicalization)
      : relaxed_(canonicalization == Canonicalization::kRelaxed) {}

  template <class Sink>
  void Push(std::string_view chunk, Sink& sink) {
    facts_.octets += chunk.size();
    run_begin_ = run_end_ = contiguous_end_ = 0;
    LineEndFinder line_ends(chunk);
    std::size_t i = 0;
    while (i < chunk.size()) {
      if (pending_cr_) {
        pending_cr_ = false;
        i += EndLineAfterCr(chunk[i] == '\n', i);
        continue;
      }
      const std::size_t end = line_ends.Next(i);
      if (end != i) Text(chunk, i, end, sink);
      if (end == chunk.size()) break;
      if (chunk[end] == '\r') {
        pending_cr_ = true;
      } else {
        ++facts_.lines.bare_lf;
        EndLine();
      }
      i = end + 1;
    }
    FlushRun(chunk, sink);
  }

  // The end of the body: at most one CRLF more.
  template <class Sink>
  void Finish(Sink& sink) {
    if (pending_cr_) {
      pending_cr_ = false;
      ++facts_.lines.bare_cr;
      EndLine();
    }
    facts_.ends_without_crlf = line_octets_ != 0;
    facts_.longest_line = std::max(facts_.longest_line, line_octets_);
    // Simple: an empty body is one CRLF. Relaxed: it is nothing. A last line without its CRLF gets it.
    if (!relaxed_ || content_) sink(std::string_view("\r\n"));
  }

  const BodyFacts& facts() const { return facts_; }

 private:
  // The octet at `at` follows a CR. Gives how many octets belong to the line end.
  std::size_t EndLineAfterCr(bool crlf, std::size_t at) {
    EndLine();
    if (!crlf) {
      ++facts_.lines.bare_cr;
      return 0;
    }
    if (at != 0 && contiguous_end_ == at - 1) contiguous_end_ = at + 1;
    return 1;
  }

  void EndLine() {
    facts_.longest_line = std::max(facts_.longest_line, line_octets_);
    line_octets_ = 0;
    gap_ = false;  // relaxed: white space at the end of a line goes
    ++line_ends_;
  }

  // chunk[begin, end) is of one line: no CR, no LF.
  template <class Sink>
  void Text(std::string_view chunk, std::size_t begin, std::size_t end, Sink& sink) {
    line_octets_ += end - begin;
    if (!relaxed_) {
      Keep(chunk, begin, end, sink);
      return;
    }
    while (begin < end) {
      if (IsWsp(chunk[begin])) {
        gap_ = true;
        ++begin;
        continue;
      }
      const std::size_t clean_end = begin + CleanOctets(chunk.substr(begin, end - begin));
      Keep(chunk, begin, clean_end, sink);
      begin = clean_end;
    }
  }

  // How many octets from the front stay as they are: a single space between other octets is one of them.
  static std::size_t CleanOctets(std::string_view text) {
    std::size_t i = 1;
    // Eight at a time, as long as none is a tab or a space before white space.
    for (; i + sizeof(std::uint64_t) < text.size(); i += sizeof(std::uint64_t)) {
      const std::uint64_t octets = Load(text.data() + i);
      const std::uint64_t next = Load(text.data() + i + 1);
      if ((Equal(octets, '\t') | (Equal(octets, ' ') & (Equal(next, ' ') | Equal(next, '\t')))) != 0) break;
    }
    while (i < text.size()) {
      if (text[i] == '\t') break;
      if (text[i] == ' ' && (i + 1 == text.size() || IsWsp(text[i + 1]))) break;
      ++i;
    }
    return i;
  }

  static std::uint64_t Load(const char* at) {
    std::uint64_t octets;
    std::memcpy(&octets, at, sizeof octets);
    return octets;
  }

  // The top bit of each octet that is `wanted`. No carry leaves an octet, so the answer is exact for each.
  static std::uint64_t Equal(std::uint64_t octets, char wanted) {
    constexpr std::uint64_t kEach = 0x0101010101010101, kLow = 0x7f * kEach;
    const std::uint64_t difference = octets ^ (static_cast<unsigned char>(wanted) * kEach);
    return ~(((difference & kLow) + kLow) | difference | kLow);
  }

  // chunk[begin, end) is part of the canonical form. It joins the present run where nothing but CRLFs lies between.
  template <class Sink>
  void Keep(std::string_view chunk, std::size_t begin, std::size_t end, Sink& sink) {
    if (run_end_ == 0 || begin != contiguous_end_) {
      FlushRun(chunk, sink);
      GiveLineEnds(sink);
      if (gap_) sink(std::string_view(" "));
      run_begin_ = begin;
    }
    gap_ = false;
    line_ends_ = 0;
    content_ = true;
    run_end_ = contiguous_end_ = end;
  }

  template <class Sink>
  void FlushRun(std::string_view chunk, Sink& sink) {
    if (run_end_ != run_begin_) sink(chunk.substr(run_begin_, run_end_ - run_begin_));
    run_begin_ = run_end_;
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
  bool pending_cr_ = false;        // a CR came last; the next octet says whether it is bare
  bool gap_ = false;               // relaxed: white space came last
  bool content_ = false;           // something was kept
  std::uint64_t line_ends_ = 0;    // seen and not given: only given when something follows
  std::uint64_t line_octets_ = 0;  // of the present line
  // Of the present chunk: what is to be given in one call, and where the CRLFs that directly follow it end.
  std::size_t run_begin_ = 0, run_end_ = 0, contiguous_end_ = 0;
  BodyFacts facts_;
};

}  // namespace hallmark::dkim
