#include "signerd/policy/etag.h"

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/sha256.h"

namespace hallmark::policy {

std::string EtagOf(const google::protobuf::MessageLite& message) {
  const dkim::Digest digest = dkim::Sha256Of(message.SerializeAsString());
  return HexEncode(ByteView(digest).first(16));
}

Status CheckEtag(const std::string& given, const std::string& present, std::string_view what) {
  if (given.empty() || given == present) return Ok();
  return MakeError(Reason::kStateConflict, std::string(what) + " was changed meanwhile: look again");
}

}  // namespace hallmark::policy
