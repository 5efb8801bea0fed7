#pragma once

#include "tools/relay-client/message_reader.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::relay {

struct Message::Parts {
  MessageOptions options;
  MessageReader reader;
};

}  // namespace hallmark::relay
