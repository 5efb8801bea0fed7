#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "signerd/dkim/ascii.h"
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

// Gives the canonical octets of a body (RFC 6376 sections 3.4.3 and 3.4.4) as it comes, in chunks cut anywhere. Bare CR and
// bare LF count as CRLF. Memory is constant: trailing empty lines are counted, not kept. A Sink is called with string views
// that are good during the call. Not thread-safe.
class BodyCanonicalizer {
 public:
  explicit BodyCanonicalizer(Canonicalization canonicalization) : relaxed_(canonicalization == Canonicalization::kRelaxed) {}

  template <class Sink>
  void Push(std::string_view chunk, Sink& sink) {
    facts_.octets += chunk.size();
    std::size_t i = 0;
    while (i < chunk.size()) {
      if (pending_cr_) {
        pending_cr_ = false;
        if (chunk[i] == '\n') {
          ++i;
        } else {
          ++facts_.lines.bare_cr;
        }
        EndLine();
        continue;
      }
      const std::size_t end = FindLineEnd(chunk, i);
      if (end != i) Text(chunk.substr(i, end - i), sink);
      i = end;
      if (i == chunk.size()) break;
      if (chunk[i] == '\r') {
        pending_cr_ = true;
      } else {
        ++facts_.lines.bare_lf;
        EndLine();
      }
      ++i;
    }
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
  static std::size_t FindLineEnd(std::string_view chunk, std::size_t from) {
    return std::min(chunk.find_first_of(std::string_view("\r\n"), from), chunk.size());
  }

  void EndLine() {
    facts_.longest_line = std::max(facts_.longest_line, line_octets_);
    line_octets_ = 0;
    gap_ = false;  // relaxed: white space at the end of a line goes
    ++line_ends_;
  }

  // Octets of one line: no CR, no LF.
  template <class Sink>
  void Text(std::string_view text, Sink& sink) {
    line_octets_ += text.size();
    if (!relaxed_) {
      Emit(text, sink);
      return;
    }
    while (!text.empty()) {
      if (IsWsp(text.front())) {
        gap_ = true;
        text.remove_prefix(1);
        continue;
      }
      const std::size_t end = EndOfCleanRun(text);
      if (gap_) Emit(" ", sink);
      gap_ = false;
      Emit(text.substr(0, end), sink);
      text.remove_prefix(end);
    }
  }

  // How many octets from the front stay as they are: a single space between other octets is one of them.
  static std::size_t EndOfCleanRun(std::string_view text) {
    std::size_t i = 1;
    while (i < text.size()) {
      if (text[i] == '\t') break;
      if (text[i] == ' ' && (i + 1 == text.size() || IsWsp(text[i + 1]))) break;
      ++i;
    }
    return i;
  }

  template <class Sink>
  void Emit(std::string_view octets, Sink& sink) {
    static constexpr std::string_view kLineEnds = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
    while (line_ends_ != 0) {
      const auto count = std::min<std::uint64_t>(line_ends_, kLineEnds.size() / 2);
      sink(kLineEnds.substr(0, count * 2));
      line_ends_ -= count;
    }
    content_ = true;
    sink(octets);
  }

  const bool relaxed_;
  bool pending_cr_ = false;  // a CR came last; the next octet says whether it is bare
  bool gap_ = false;         // relaxed: white space came last
  bool content_ = false;     // something was given
  std::uint64_t line_ends_ = 0;    // seen and not given: only given when something follows
  std::uint64_t line_octets_ = 0;  // of the present line
  BodyFacts facts_;
};

}  // namespace hallmark::dkim
