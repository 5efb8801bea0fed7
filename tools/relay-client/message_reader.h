#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/header.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::relay {

// Takes one message as it comes, cut anywhere, and keeps what signerd is to see of it: the header block and the body's
// hash, or (Settings::send_message) all of it. The first failure is kept and what follows is ignored. Not thread-safe.
class MessageReader {
 public:
  explicit MessageReader(const Settings& settings);

  void Feed(std::string_view octets);

  struct Content {
    std::string octets;   // the header block as it came, with its blank line if there is one; or the whole message
    dkim::BodyHash body;  // this and its facts: not of a whole message
    dkim::BodyFacts body_facts;
    bool whole = false;
    Canonicalization body_canonicalization = Canonicalization::kRelaxed;
    std::optional<Failure> failure;  // MESSAGE_TOO_LARGE, HEADER_TOO_LARGE
  };
  // Once.
  Content Finish() &&;

 private:
  void Fail(const char* reason, std::string message);
  Content content_;
  const std::uint64_t most_octets_;
  dkim::HeaderReader header_;  // says where the header ends
  dkim::BodyHasher body_;
};

}  // namespace hallmark::relay
