#pragma once

#include <variant>

#include "hallmark/signing/v1/signing.pb.h"
#include "tools/relay-client/message_reader.h"

namespace hallmark::relay {

// A message of which more is to travel than one request should hold.
struct LargeMessage {
  signing::v1::SignOptions options;
  std::string octets;
};

using Request = std::variant<signing::v1::SignDigestRequest, signing::v1::SignRequest, LargeMessage>;

// What is sent for a message. Text that is not UTF-8, which protobuf would refuse, has "?" for each wrong octet; a
// request_id is made where there is none.
Request MakeRequest(MessageReader::Content content, MessageOptions options);

}  // namespace hallmark::relay
