#include "tools/milter/frame.h"

namespace hallmark::milter {
namespace {

constexpr std::size_t kLengthOctets = 4;
constexpr std::size_t kKeptOctets = 4096;  // more is not kept for a connection that waits

}  // namespace

void Decoder::Push(std::string_view octets) {
  if (at_ == octets_.size()) {
    octets_.clear();
    at_ = 0;
    if (octets_.capacity() > kKeptOctets && octets.size() <= kKeptOctets) octets_.shrink_to_fit();
  } else if (at_ > octets_.size() / 2) {
    octets_.erase(0, at_);
    at_ = 0;
  }
  octets_.append(octets);
}

Result<std::optional<Frame>> Decoder::Next() {
  const std::string_view rest = std::string_view(octets_).substr(at_);
  if (rest.size() < kLengthOctets) return std::optional<Frame>();
  const std::uint32_t length = ReadU32(rest);
  if (length == 0 || length > kMaxFrame) {
    return MakeError(Reason::kInvalidArgument, "a packet of " + std::to_string(length) + " octets");
  }
  if (rest.size() - kLengthOctets < length) return std::optional<Frame>();
  at_ += kLengthOctets + length;
  return std::optional<Frame>({rest[kLengthOctets], rest.substr(kLengthOctets + 1, length - 1)});
}

std::vector<std::string_view> SplitStrings(std::string_view data) {
  std::vector<std::string_view> strings;
  while (!data.empty()) {
    const std::size_t end = data.find('\0');
    strings.push_back(data.substr(0, end));
    data.remove_prefix(end == std::string_view::npos ? data.size() : end + 1);
  }
  return strings;
}

std::uint32_t ReadU32(std::string_view octets) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < kLengthOctets; ++i) value = value << 8 | static_cast<unsigned char>(octets[i]);
  return value;
}

void AppendU32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

void AppendReply(std::string& out, Reply reply, std::string_view data) {
  AppendU32(out, static_cast<std::uint32_t>(data.size() + 1));
  out += static_cast<char>(reply);
  out += data;
}

void AppendReplyCode(std::string& out, std::string_view text) {
  AppendReply(out, Reply::kReplyCode, std::string(text) + '\0');
}

void AppendInsertAtTop(std::string& out, std::string_view name, std::string_view value) {
  std::string data;
  AppendU32(data, 0);
  data.append(name) += '\0';
  data.append(value) += '\0';
  AppendReply(out, Reply::kInsertHeader, data);
}

}  // namespace hallmark::milter
