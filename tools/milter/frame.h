#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "tools/milter/protocol.h"

namespace hallmark::milter {

// Octets of one packet, command included. MTAs send 64 KiB of a body at a time; a header field may be longer.
inline constexpr std::size_t kMaxFrame = 2u << 20;

// One packet of the MTA's. Its data lives in the Decoder until the next call of that.
struct Frame {
  char command = 0;
  std::string_view data;
};

// Cuts a stream of octets into packets, wherever it was cut on its way. Memory is that of the packet under way. Not
// thread-safe.
class Decoder {
 public:
  void Push(std::string_view octets);
  // The next whole packet, or nothing. kInvalidArgument where the length is 0 or above kMaxFrame: the stream is useless
  // from there on.
  Result<std::optional<Frame>> Next();

 private:
  std::string octets_;
  std::size_t at_ = 0;  // what is before it was given out
};

// The strings of a packet's data; a last one without its NUL counts too.
std::vector<std::string_view> SplitStrings(std::string_view data);

std::uint32_t ReadU32(std::string_view octets);  // of at least four
void AppendU32(std::string& out, std::uint32_t value);

// Each appends one packet.
void AppendReply(std::string& out, Reply reply, std::string_view data = {});
// `text` is a whole SMTP reply line: "451 4.3.0 ...".
void AppendReplyCode(std::string& out, std::string_view text);
// The field goes above all others. Line ends within the value are LF.
void AppendInsertAtTop(std::string& out, std::string_view name, std::string_view value);

}  // namespace hallmark::milter
