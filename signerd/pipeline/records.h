#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "signerd/dkim/signature.h"
#include "signerd/ledger/recipients.h"
#include "signerd/pipeline/message_hasher.h"
#include "signerd/snapshot/snapshot.h"

// What the ledger keeps of a signed message: one serialized Record a signature.
namespace hallmark::pipeline {

struct RecordedSignature {
  const snapshot::Key& key;
  const dkim::Digest& header_hash;  // what was signed
};

// `octets`: of the whole message; 0 where they are not known. Any thread.
std::vector<std::string> MakeRecords(const Origin& origin, const HashedMessage& message,
                                     const std::vector<RecordedSignature>& signatures, std::uint64_t octets,
                                     const ledger::Recipients& recipients, std::int64_t now_us);

// `text` as a ledger can keep it: valid UTF-8 without control characters, at most `most` octets; what is not is a "?".
std::string RecordText(std::string_view text, std::size_t most = 998);

}  // namespace hallmark::pipeline
