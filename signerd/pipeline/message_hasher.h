#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/admission/admission.h"
#include "signerd/admission/quota.h"
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
  std::string requested_partner;           // empty: as admission::FindPartner says
  Envelope envelope;
  std::string certificate;  // the relay's, its fingerprint
};

// Whom a message was let in for. Both are within the origin's snapshot.
struct Admitted {
  const snapshot::Partner* partner;
  const snapshot::Domain* domain;  // the signing domain
  dkim::Author author;
  admission::Charge charge;  // what it was counted as; given back where it is not signed in the end
  bool counted = true;       // false: a repeated request, which is only counted where it turns out to be a new one
};

// What every message is let in by.
struct Reception {
  const snapshot::Current& snapshot;
  admission::Quotas& quotas;
  const Clock& clock;
  dkim::Limits limits;
  // Whether such a request is known already. Any thread, does not wait.
  std::function<bool(const Origin&)> repeated = {};
};

// What is asked of admission about a message with this header. `octets` is its size where it is known.
admission::Question QuestionOf(const Origin& origin, const dkim::Header& header, std::optional<std::uint64_t> octets,
                               std::chrono::sys_seconds now);

// A message of which nothing but the header and the body hash is needed any more.
struct HashedMessage {
  dkim::Header header;
  Admitted admitted;
  dkim::Canonicalization body_canonicalization;
  dkim::BodyHash body_hash;
  std::optional<dkim::BodyFacts> body_facts;  // unknown where the relay hashed the body and does not say them
};

// A whole message whose header is parsed and whose signing domain is chosen.
struct ParsedMessage {
  dkim::Header header;
  Admitted admitted;
  std::string_view body;  // within the message
};

// The way of a whole message: its body is hashed in between, together with others (dkim::BodyBatch).
Result<ParsedMessage> ParseMessage(const Origin& origin, const Reception& reception, std::string_view message);
Result<HashedMessage> WithBody(ParsedMessage message, const dkim::HashedBody& body);

// Takes one message in chunks of any size. It is decided upon as soon as the header has ended; from there on the body
// is hashed as it comes, in constant memory, until it is larger than its partner may send. Not thread-safe. After an
// error the object is spent.
class MessageHasher {
 public:
  // Both must outlive it. Finish() changes `origin`.
  MessageHasher(Origin& origin, const Reception& reception)
      : origin_(origin), reception_(reception), reader_(reception.limits) {}

  Status Push(std::string_view chunk);
  // Decides again: a body may take hours, and neither the policy nor the keys are what they were. It is not counted
  // again. The origin has the snapshot of now then.
  Result<HashedMessage> Finish();

 private:
  Status EndHeader();
  Status DecideAtLast();
  Status DecideAgain();
  Origin& origin_;
  const Reception& reception_;
  std::uint64_t octets_ = 0;
  dkim::HeaderReader reader_;
  std::optional<dkim::Header> header_;
  std::optional<Admitted> admitted_;
  dkim::Canonicalization body_form_ = dkim::Canonicalization::kSimple;
  std::optional<dkim::BodyHasher> body_;
};

// What a relay that has hashed the body itself says of it. Octets and lengths are at most 2^50.
struct ClaimedBody {
  dkim::Canonicalization canonicalization;
  dkim::Digest hash;
  std::optional<std::uint64_t> length;  // in canonical form
  std::optional<dkim::BodyFacts> facts;
};

// The same for such a relay.
Result<HashedMessage> TakeDigest(const Origin& origin, const Reception& reception, std::string_view header_block,
                                 const ClaimedBody& body);

}  // namespace hallmark::pipeline
