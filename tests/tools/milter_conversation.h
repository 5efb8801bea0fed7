#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/milter/frame.h"
#include "tools/milter/session.h"
#include "tools/relay-client/message_reader.h"

// An MTA's conversation with a session, octets in and octets out, without sockets and without a signerd.
namespace hallmark::milter {

// A packet of the MTA's.
inline std::string Packet(char command, std::string_view data = {}) {
  std::string packet;
  AppendReply(packet, static_cast<Reply>(command), data);
  return packet;
}

inline std::string Strings(const std::vector<std::string_view>& strings) {
  std::string data;
  for (const std::string_view string : strings) data.append(string) += '\0';
  return data;
}

inline std::string Offer(std::uint32_t version, std::uint32_t actions, std::uint32_t steps) {
  std::string data;
  for (const std::uint32_t value : {version, actions, steps}) AppendU32(data, value);
  return Packet('O', data);
}

inline constexpr std::uint32_t kAllActions = 0x1ff, kAllSteps = 0x1fffff;

// What a message would have taken to signerd.
struct Handed {
  relay::MessageReader::Content content;
  relay::MessageOptions options;
};

class Conversation {
 public:
  using Signer = std::function<relay::Outcome(const Handed&)>;

  Conversation(const SessionSettings& settings, Tally& tally, Signer signer)
      : signer_(std::move(signer)), session_(settings, tally) {}

  // What is said to these octets. Nothing is read any more once the conversation is over.
  std::string Push(std::string_view octets);

  // Whether the MTA said goodbye, or the connection is to be closed because it does not keep to the protocol.
  bool over() const { return over_; }
  bool broken() const { return broken_; }
  const std::vector<Handed>& handed() const { return handed_; }

  // Called with each packet that the session has taken, and what it answered to it.
  std::function<void(char command, std::string_view data, std::string_view answer)> on_taken;

 private:
  void Sign(std::string& out);

  Signer signer_;
  Decoder decoder_;
  Session session_;
  bool over_ = false, broken_ = false;
  std::vector<Handed> handed_;
};

// The answers in octets that a session wrote: (code, data).
inline std::vector<std::pair<char, std::string>> Answers(std::string_view octets) {
  std::vector<std::pair<char, std::string>> answers;
  Decoder decoder;
  decoder.Push(octets);
  for (auto frame = decoder.Next(); frame && frame->has_value(); frame = decoder.Next()) {
    answers.emplace_back((*frame)->command, std::string((*frame)->data));
  }
  return answers;
}

// Their codes alone.
inline std::string Codes(std::string_view octets) {
  std::string codes;
  for (const auto& [code, data] : Answers(octets)) codes += code;
  return codes;
}

}  // namespace hallmark::milter
