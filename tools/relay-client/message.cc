#include <utility>

#include "tools/relay-client/message_parts.h"

namespace hallmark::relay {

Message::Message(const Settings& settings, MessageOptions options)
    : parts_(new Parts{std::move(options), MessageReader(settings)}) {}
Message::Message(Message&&) noexcept = default;
Message& Message::operator=(Message&&) noexcept = default;
Message::~Message() = default;

void Message::Feed(std::string_view octets) { parts_->reader.Feed(octets); }

MessageOptions& Message::options() { return parts_->options; }

}  // namespace hallmark::relay
