#include "signerd/dkim/header.h"

#include <algorithm>
#include <utility>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/line_ends.h"

namespace hallmark::dkim {
namespace {

Error TooLarge(const Limits& limits) {
  return MakeError(Reason::kHeaderTooLarge,
                   "the header is larger than " + std::to_string(limits.header_octets) + " octets");
}

Error Malformed(std::size_t line, const std::string& what) {
  return MakeError(Reason::kHeaderMalformed, "header line " + std::to_string(line) + " " + what);
}

// "From joe@example.com Fri Jul 11 21:00:37 2003", where "From : joe@example.com" is a field.
bool IsMailboxSeparator(std::string_view line) {
  if (line.starts_with('>')) line.remove_prefix(1);
  if (!line.starts_with("From ")) return false;
  const std::size_t next = line.find_first_not_of(" \t", 4);
  return next == std::string_view::npos || line[next] != ':';
}

// The field name that `line` begins with, or what is wrong with it.
Result<std::string_view> NameOf(std::string_view line, std::size_t number) {
  const std::size_t colon = line.find(':');
  if (IsMailboxSeparator(line))
    return Malformed(number, "is an mbox separator (\"From \"): pass the message without it");
  if (colon == std::string_view::npos) return Malformed(number, "has no colon: not a header field");
  std::string_view name = line.substr(0, colon);
  while (!name.empty() && IsWsp(name.back())) name.remove_suffix(1);
  if (name.empty()) return Malformed(number, "has no field name before the colon");
  if (!std::all_of(name.begin(), name.end(), &IsFtext)) {
    return Malformed(number, "has a field name with an octet that is not printable ASCII");
  }
  return name;
}

}  // namespace

Result<std::size_t> HeaderReader::Push(std::string_view chunk) {
  LineEndFinder line_ends(chunk);
  std::size_t i = 0;
  while (i < chunk.size() && !done_) {
    if (pending_cr_) {
      pending_cr_ = false;
      const bool crlf = chunk[i] == '\n';
      if (crlf) ++i;
      EndLine(crlf ? LineEnd::kCrlf : LineEnd::kBareCr);
      continue;
    }
    const std::size_t end = line_ends.Next(i);
    if (block_.size() + (end - i) > limits_.header_octets) return TooLarge(limits_);
    block_.append(chunk, i, end - i);
    line_octets_ += end - i;
    i = end;
    if (i == chunk.size()) break;
    if (chunk[i] == '\r') {
      pending_cr_ = true;
    } else {
      EndLine(LineEnd::kBareLf);
    }
    ++i;
  }
  return i;
}

void HeaderReader::EndLine(LineEnd end) {
  if (end == LineEnd::kBareCr) ++facts_.bare_cr;
  if (end == LineEnd::kBareLf) ++facts_.bare_lf;
  if (!std::exchange(first_line_ended_, true)) crlf_ = end != LineEnd::kBareLf;
  const bool after_bare_cr = std::exchange(last_was_bare_cr_, end == LineEnd::kBareCr);
  if (line_octets_ == 0) {
    done_ = true;
    ends_in_bare_cr_ = after_bare_cr || last_was_bare_cr_;
  } else {
    block_.append("\r\n");
    line_octets_ = 0;
  }
}

Result<Header> HeaderReader::Finish() && {
  // A bare CR elsewhere moves nothing: the blank line is one for those as well that take a CR for an octet of a line.
  if (ends_in_bare_cr_ || (!done_ && pending_cr_)) {
    return MakeError(
        Reason::kHeaderMalformed,
        "the header ends in a bare CR, so that others find its end elsewhere: send lines that end in CRLF");
  }
  if (!done_ && line_octets_ != 0) block_.append("\r\n");
  if (block_.size() > limits_.header_octets) return TooLarge(limits_);
  Header header;
  header.block_ = std::make_unique<const std::string>(std::move(block_));
  header.line_facts_ = facts_;
  header.crlf_ = crlf_;
  const Status found = header.FindFields(limits_);
  if (!found) return found.error();
  return header;
}

Result<Header> Header::Parse(std::string_view block, const Limits& limits) {
  HeaderReader reader(limits);
  const auto taken = reader.Push(block);
  if (!taken) return taken.error();
  if (*taken != block.size()) {
    return MakeError(Reason::kHeaderMalformed, "the header block goes on after its blank line: pass the header only");
  }
  return std::move(reader).Finish();
}

Status Header::FindFields(const Limits& limits) {
  const std::string_view block = *block_;
  std::size_t line_number = 0;
  for (std::size_t start = 0; start < block.size();) {
    const std::size_t end = block.find("\r\n", start) + 2;
    const std::string_view line = block.substr(start, end - start);
    ++line_number;
    if (IsWsp(line.front())) {
      if (fields_.empty()) return Malformed(line_number, "begins with white space, but there is no field to continue");
      Field& last = fields_.back();
      last.raw = {last.raw.data(), last.raw.size() + line.size()};
      last.value = {last.value.data(), last.value.size() + line.size()};
    } else {
      const auto name = NameOf(line.substr(0, line.size() - 2), line_number);
      if (!name) return name.error();
      if (fields_.size() == limits.header_fields) {
        return MakeError(Reason::kHeaderTooLarge,
                         "the header has more than " + std::to_string(limits.header_fields) + " fields");
      }
      fields_.push_back({*name, line, line.substr(line.find(':') + 1)});
    }
    start = end;
  }
  return Ok();
}

}  // namespace hallmark::dkim
