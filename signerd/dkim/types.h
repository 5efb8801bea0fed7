#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hallmark::dkim {

// RFC 6376 section 3.4.
enum class Canonicalization : std::uint8_t { kSimple, kRelaxed };

// A value of a=. algorithm.h has what is known of each.
enum class Algorithm : std::uint8_t { kRsaSha256, kEd25519Sha256 };

// What to do with a bare CR or a bare LF: count it as CRLF, or refuse the message.
enum class LineEndings : std::uint8_t { kNormalize, kRefuse };

// SHA-256.
using Digest = std::array<std::uint8_t, 32>;

// What is signed, and how. DefaultProfile() is a careful one; ValidateProfile() says what may be in it (profile.h).
struct SigningProfile {
  std::string name = "default";
  Canonicalization header = Canonicalization::kRelaxed;
  Canonicalization body = Canonicalization::kRelaxed;
  // Every instance that is present is signed, bottom-up (RFC 6376 section 5.4.2); absent ones stay out of h=.
  std::vector<std::string> signed_fields;
  // Named once more in h= than they occur, so that none can be added.
  std::vector<std::string> oversigned_fields;
  // Never signed; wins over both lists. From cannot be excluded.
  std::vector<std::string> excluded_fields;
  LineEndings line_endings = LineEndings::kNormalize;
  std::string auid;                                   // i=: empty for none, "@domain" or "local-part@domain"
  std::optional<std::chrono::seconds> expires_after;  // x= is t= and this
  bool timestamp = true;                              // t=
  bool query_method = false;                          // q=dns/txt
  bool copied_fields = false;                         // z=
  bool body_length = false;                           // l=
};

}  // namespace hallmark::dkim
