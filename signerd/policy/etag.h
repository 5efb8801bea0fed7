#pragma once

#include <google/protobuf/message_lite.h>

#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

// What ties a change to what was looked at before: two operators cannot put each other's changes back.
namespace hallmark::policy {

// Changes with the message, which has no maps: then one content has one serialization.
std::string EtagOf(const google::protobuf::MessageLite& message);

// Whether `given`, of a request, is that of what there is now; an empty one is not looked at. kStateConflict names
// `what`.
Status CheckEtag(const std::string& given, const std::string& present, std::string_view what);

}  // namespace hallmark::policy
