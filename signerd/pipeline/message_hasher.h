#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/body_batch.h"
#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/header.h"
#include "signerd/dkim/limits.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark::pipeline {

// What a relay says beside the message. Recorded, never signed.
struct Envelope {
  std::string request_id;  // empty: none
  std::string sender;      // MAIL FROM
  std::vector<std::string> recipients;
};

// Who asks, and the view of the world that the whole message is judged by.
struct Origin {
  std::shared_ptr<const snapshot::Snapshot> snapshot;
  const snapshot::Relay* relay = nullptr;  // within `snapshot`
  std::string requested_domain;            // empty: from the author domain
  std::string requested_partner;           // empty: "own"
  Envelope envelope;
};

// Whom a message was let in for. Both are within the origin's snapshot.
struct Admitted {
  const snapshot::Partner* partner;
  const snapshot::Domain* domain;  // the signing domain
  dkim::Author author;
};

// A message of which nothing but the header and the body hash is needed any more.
struct HashedMessage {
  dkim::Header header;
  Admitted admitted;
  dkim::Canonicalization body_canonicalization;
  dkim::BodyHash body_hash;
  std::optional<dkim::BodyFacts> body_facts;  // unknown where the relay hashed the body
};

// A whole message whose header is parsed and whose signing domain is chosen.
struct ParsedMessage {
  dkim::Header header;
  Admitted admitted;
  std::string_view body;  // within the message
};

// The way of a whole message: its body is hashed in between, together with others (dkim::BodyBatch).
Result<ParsedMessage> ParseMessage(const Origin& origin, const dkim::Limits& limits, std::string_view message);
Result<HashedMessage> WithBody(ParsedMessage message, const dkim::HashedBody& body);

// Takes one message in chunks of any size. The signing domain is chosen, and refused where the relay may not use it, as
// soon as the header has ended; from there on the body is hashed as it comes, in constant memory.
// Not thread-safe. After an error the object is spent.
class MessageHasher {
 public:
  MessageHasher(const Origin& origin, const dkim::Limits& limits) : origin_(origin), reader_(limits) {}

  Status Push(std::string_view chunk);
  Result<HashedMessage> Finish();

 private:
  Status EndHeader();
  const Origin& origin_;
  dkim::HeaderReader reader_;
  std::optional<dkim::Header> header_;
  std::optional<Admitted> admitted_;
  std::optional<dkim::BodyHasher> body_;
};

// The same for a relay that has hashed the body itself.
Result<HashedMessage> TakeDigest(const Origin& origin, const dkim::Limits& limits, std::string_view header_block,
                                 dkim::Canonicalization body_canonicalization, const dkim::Digest& body_hash,
                                 std::optional<std::uint64_t> body_length);

}  // namespace hallmark::pipeline
