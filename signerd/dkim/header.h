#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/limits.h"

namespace hallmark::dkim {

// One header field, as views into its Header.
struct Field {
  std::string_view name;   // as written, without white space before the colon
  std::string_view raw;    // the whole field: folds and the final CRLF included
  std::string_view value;  // what follows the colon, with the final CRLF
};

// How many line ends were not CRLF.
struct LineFacts {
  std::uint64_t bare_lf = 0, bare_cr = 0;
};

// A message's header block with every line end made CRLF. Immutable; Field views live as long as the Header, also when
// it is moved. Octets of values are opaque (RFC 6532, Latin-1, NUL); names are checked.
class Header {
 public:
  // `block` is the fields, with or without the blank line; used where the body travels apart. Octets after the blank
  // line are an error. Errors: kHeaderTooLarge, kHeaderMalformed (the sentence names the line).
  static Result<Header> Parse(std::string_view block, const Limits& limits = {});

  const std::vector<Field>& fields() const { return fields_; }
  std::string_view block() const { return *block_; }
  const LineFacts& line_facts() const { return line_facts_; }
  // False when the first line of the message ended in a bare LF.
  bool crlf() const { return crlf_; }

 private:
  friend class HeaderReader;
  Header() = default;
  Status FindFields(const Limits& limits);
  std::unique_ptr<const std::string> block_;  // apart, so that views stay good when the Header is moved
  std::vector<Field> fields_;
  LineFacts line_facts_;
  bool crlf_ = true;
};

// Takes a message in chunks of any size until its header has ended. Bare CR and bare LF count as CRLF wherever a chunk
// ends; but a header whose end is known by a bare CR is refused, as others would find the body elsewhere. Not
// thread-safe.
class HeaderReader {
 public:
  explicit HeaderReader(const Limits& limits = {}) : limits_(limits) {}

  // How many octets of `chunk` belong to the header, its blank line included: all, until done(). kHeaderTooLarge.
  Result<std::size_t> Push(std::string_view chunk);
  // Whether the blank line was seen.
  bool done() const { return done_; }
  // The header; also of a message that ended without a blank line. kHeaderMalformed, kHeaderTooLarge.
  Result<Header> Finish() &&;

 private:
  enum class LineEnd : std::uint8_t { kCrlf, kBareCr, kBareLf };
  void EndLine(LineEnd end);
  const Limits limits_;
  std::string block_;
  LineFacts facts_;
  std::size_t line_octets_ = 0;
  bool pending_cr_ = false;        // a CR came last; the next octet says whether it is bare
  bool last_was_bare_cr_ = false;  // the end of the last line
  bool ends_in_bare_cr_ = false;   // the blank line, or the line before it
  bool first_line_ended_ = false;
  bool crlf_ = true;
  bool done_ = false;
};

}  // namespace hallmark::dkim
