#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "hallmark/ledger/v1/record.pb.h"

namespace hallmark::service {

// A request for a record or a person.
struct ShownRequest {
  // JSON with the field names of the .proto files, without fields that are marked (hallmark.admin.v1.secret), at most
  // 4,096 octets; what is longer ends in "...".
  std::string json;
  std::string sha256;  // of all of it where it was longer, else empty
};

// Any thread.
ShownRequest ShowRequest(const google::protobuf::Message& request);

void SetRequest(const ShownRequest& shown, hallmark::ledger::v1::AdminAct& act);

}  // namespace hallmark::service
