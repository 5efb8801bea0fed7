#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "signerd/dkim/public_key.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// A key record (RFC 6376 section 3.6.1), taken apart.
struct KeyRecord {
  Algorithm algorithm = Algorithm::kRsaSha256;  // k=
  Bytes public_data;                            // p=, decoded
  bool revoked = false;                         // p= is empty
  bool testing = false;                         // t=y
  bool strict_identity = false;                 // t=s: i= must be d=, not below it
};

// `text` is the value of one TXT record, its strings joined. kInvalidArgument, with another sentence for each fault: no
// tag list, v= is not DKIM1 or not first, unknown k=, no p=, p= is no base64, h= without sha256, s= without email.
Result<KeyRecord> ParseKeyRecord(std::string_view text);

// "v=DKIM1; k=rsa; p=..." or "v=DKIM1; k=ed25519; p=...".
std::string KeyRecordValue(const PublicKey& key);
// The same with an empty p=: the key is revoked (RFC 6376 section 3.6.1).
std::string RevokedKeyRecordValue(const PublicKey& key);

// A TXT value for a zone file: quoted strings of at most 255 octets with a space between them, quotes, backslashes and
// octets that are not printable ASCII escaped (RFC 1035 section 5.1).
std::string ZoneFileTxt(std::string_view value);

}  // namespace hallmark::dkim
