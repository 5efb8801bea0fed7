#include "milter_conversation.h"

#include "tools/relay-client/message_parts.h"

namespace hallmark::milter {
namespace {

// What travels to signerd is private to the client that sends it; an explicit instantiation may name it all the same.
template <auto Member>
struct Opened {
  friend auto& PartsOf(relay::Message& message) { return message.*Member; }
};
auto& PartsOf(relay::Message& message);
template struct Opened<&relay::Message::parts_>;

}  // namespace

std::string Conversation::Push(std::string_view octets) {
  std::string out;
  decoder_.Push(octets);
  while (!over_) {
    auto frame = decoder_.Next();
    broken_ = !frame;
    over_ = broken_;
    if (over_ || !frame->has_value()) break;
    std::string answer;
    const auto next = session_.Take(**frame, answer);
    broken_ = !next;
    over_ = !next || *next == Session::Next::kClose;
    if (next && *next == Session::Next::kSign) Sign(answer);
    if (on_taken) on_taken((*frame)->command, (*frame)->data, answer);
    out += answer;
  }
  return out;
}

void Conversation::Sign(std::string& out) {
  relay::Message message = session_.TakeMessage();
  auto& parts = *PartsOf(message);
  handed_.push_back({std::move(parts.reader).Finish(), parts.options});
  session_.Signed(signer_(handed_.back()), out);
}

}  // namespace hallmark::milter
