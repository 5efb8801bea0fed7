#pragma once

#include <google/protobuf/message.h>

#include <string>

namespace hallmark::service {

// The request for a record or a person: JSON with the field names of the .proto files, without fields that are marked
// (hallmark.admin.v1.secret), at most 4,096 octets; what is longer ends in "...". Any thread.
std::string RequestJson(const google::protobuf::Message& request);

}  // namespace hallmark::service
