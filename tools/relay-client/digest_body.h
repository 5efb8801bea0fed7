#pragma once

#include "hallmark/signing/v1/signing.pb.h"
#include "signerd/dkim/body_hasher.h"

namespace hallmark::relay {

// Puts what whoever hashed a body knows of it into the request, but for how it was canonicalized.
inline void SetBody(const dkim::BodyHash& hash, const dkim::BodyFacts& facts, signing::v1::SignDigestRequest& request) {
  request.set_body_hash(hash.digest.data(), hash.digest.size());
  request.set_body_length(hash.length);
  signing::v1::BodyFacts& api = *request.mutable_body_facts();
  api.set_octets(facts.octets);
  api.set_bare_lf(facts.lines.bare_lf);
  api.set_bare_cr(facts.lines.bare_cr);
  api.set_longest_line(facts.longest_line);
  api.set_ends_without_crlf(facts.ends_without_crlf);
}

}  // namespace hallmark::relay
