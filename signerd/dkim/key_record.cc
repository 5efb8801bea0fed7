#include "signerd/dkim/key_record.h"

#include <algorithm>
#include <cstdio>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/ascii.h"
#include "signerd/dkim/tag_list.h"

namespace hallmark::dkim {
namespace {

constexpr std::size_t kLongestString = 255;  // RFC 1035 section 3.3

Error Invalid(const std::string& what) { return MakeError(Reason::kInvalidArgument, "key record: " + what); }

bool ListHas(std::string_view list, std::string_view wanted) {
  for (const std::string_view entry : SplitList(list, ':')) {
    if (EqualsIgnoringCase(entry, wanted)) return true;
  }
  return false;
}

Result<Algorithm> AlgorithmOfRecord(const TagList& tags) {
  const Tag* k = tags.Find("k");
  if (k == nullptr) return Algorithm::kRsaSha256;
  for (const AlgorithmInfo& info : Algorithms()) {
    if (EqualsIgnoringCase(info.record_name, k->value)) return info.algorithm;
  }
  return Invalid("k= is not an algorithm that is known");
}

}  // namespace

Result<KeyRecord> ParseKeyRecord(std::string_view text) {
  const auto tags = TagList::Parse(text);
  if (!tags) return Invalid(tags.error().message);
  if (const Tag* v = tags->Find("v")) {
    if (v->value != "DKIM1") return Invalid("v= is not DKIM1");
    if (tags->tags().front().name != "v") return Invalid("v= is not the first tag");
  }
  KeyRecord record;
  const auto algorithm = AlgorithmOfRecord(*tags);
  if (!algorithm) return algorithm.error();
  record.algorithm = *algorithm;
  if (const Tag* h = tags->Find("h"); h != nullptr && !ListHas(h->value, "sha256"))
    return Invalid("h= does not allow sha256");
  // "*" is of this list only (RFC 6376 section 3.6.1).
  if (const Tag* s = tags->Find("s"); s != nullptr && !ListHas(s->value, "email") && !ListHas(s->value, "*"))
    return Invalid("s= does not allow email");
  if (const Tag* t = tags->Find("t")) {
    record.testing = ListHas(t->value, "y");
    record.strict_identity = ListHas(t->value, "s");
  }
  const Tag* p = tags->Find("p");
  if (p == nullptr) return Invalid("p= is missing");
  const std::string encoded = WithoutFws(p->value);
  record.revoked = encoded.empty();
  auto data = Base64Decode(encoded);
  if (!data) return Invalid("p= is not base64");
  record.public_data = std::move(*data);
  return record;
}

std::string KeyRecordValue(const PublicKey& key) { return RevokedKeyRecordValue(key) + Base64Encode(key.RecordData()); }

std::string RevokedKeyRecordValue(const PublicKey& key) {
  return "v=DKIM1; k=" + std::string(InfoOf(key.algorithm()).record_name) + "; p=";
}

std::string ZoneFileTxt(std::string_view value) {
  std::string text;
  for (std::size_t start = 0; start == 0 || start < value.size(); start += kLongestString) {
    text += start == 0 ? "\"" : " \"";
    for (const char c : value.substr(start, kLongestString)) {
      if (c == '"' || c == '\\') {
        text += {'\\', c};
      } else if (c >= ' ' && c < '\x7f') {
        text += c;
      } else {
        char escaped[8];
        std::snprintf(escaped, sizeof escaped, "\\%03u", static_cast<unsigned>(static_cast<unsigned char>(c)));
        text += escaped;
      }
    }
    text += '"';
  }
  return text;
}

}  // namespace hallmark::dkim
