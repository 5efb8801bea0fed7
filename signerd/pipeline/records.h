#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "signerd/dkim/signature.h"
#include "signerd/ledger/recipients.h"
#include "signerd/pipeline/message_hasher.h"
#include "signerd/pipeline/signed_message.h"
#include "signerd/snapshot/snapshot.h"

// What the ledger keeps of a signed message: one serialized Record a signature.
namespace hallmark::pipeline {

// What tells a request from another one under the same request_id. Who makes two of the same has the other's answer,
// which does not verify: 64 bits keep accidents out. What older versions wrote is longer and not understood: what they
// answered is signed again.
struct Fingerprint {
  using Part = std::array<std::uint8_t, 8>;
  Part asked{};          // of what was asked for, and the header with CRLF
  Part body{};           // of the body hash; says nothing where the other has another `way`
  std::uint8_t way = 0;  // the body's canonicalization, and the line ends of the answer

  std::string octets() const;
  static std::optional<Fingerprint> From(std::string_view octets);
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};
Fingerprint FingerprintOf(const Origin& origin, const HashedMessage& message);

struct RecordedSignature {
  const snapshot::Key& key;
  const dkim::Digest& header_hash;  // what was signed
  std::string_view field = {};      // what is answered; kept where there is a fingerprint
};

// `octets`: of the whole message; 0 where they are not known. `fingerprint`: where the relay gave a request_id, so that
// the answer can be given again. Any thread.
std::vector<std::string> MakeRecords(const Origin& origin, const HashedMessage& message,
                                     const std::vector<RecordedSignature>& signatures, std::uint64_t octets,
                                     const ledger::Recipients& recipients, std::int64_t now_us,
                                     const std::optional<Fingerprint>& fingerprint = std::nullopt);

// The answer that such records are of, without its warnings. kInvalidArgument when they are not one answer's.
Result<SignedMessage> AnswerFrom(const std::vector<std::string>& records);

// `text` as a ledger can keep it: valid UTF-8 without control characters and marks of direction (ControlAt()), at most
// `most` octets; what is not is a "?".
std::string RecordText(std::string_view text, std::size_t most = 998);

}  // namespace hallmark::pipeline
